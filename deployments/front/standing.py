"""What has become of a caller since the token was made: asked per request of the local copy of `hub.tenants`.

A verified token says who was let in once. Whether the tenant still stands, the session has not been ended,
the user is not disabled, and what tier and roles are today's, is decided here by a few look-ups, so that none
of it waits for a new token.
"""

from __future__ import annotations

from typing import Any

from deployments.front.denials import DenialLog
from deployments.front.tenants_fold import KnownTenant, KnownUser, TenantsFold
from deployments.front.tokens import REFUSAL, NotKnownYet, unauthenticated
from deployments.front.verified import Known
from models.errors import TenantSuspended, Unauthenticated
from models.principal import Principal
from models.tenant import PLATFORM_TENANT, TenantStatus


class CallerStanding:
    """`lenient` lets tenants pass that the copy does not know: for the control plane, where a tenant may be
    younger than the copy, and where the database says what there is of it. `denials` hears of those who were
    let in once and are not any more.
    """

    def __init__(self, fold: TenantsFold, *, lenient: bool = False, denials: DenialLog | None = None) -> None:
        self._fold = fold
        self._lenient = lenient
        self._denials = denials

    def of(self, known: Known) -> Known:
        """The caller as it stands now.

        Raises:
            Unauthenticated: there is no such tenant, the session has ended, the user is disabled, or its
                tokens of that time do not count any more; in the words for a forged token.
            TenantSuspended: nobody of the tenant gets in.
        """
        principal = known.principal
        tenant = self._tenant(principal)
        if principal.session_id and self._fold.ended(principal.session_id):
            raise self._denied(principal, "session_ended")
        user = self._fold.user(principal.tenant_id, principal.user_id)
        if user and not _counts(known, user):
            raise self._denied(principal, "user_disabled" if not user.enabled else "signed_out")
        changed = _changes(known, tenant, user)
        return known._replace(principal=principal.model_copy(update=changed)) if changed else known

    def _denied(self, principal: Principal, why: str) -> Unauthenticated:
        if self._denials:
            self._denials.note(principal, f"access.{why}", principal.user_id)
        return unauthenticated()

    def _tenant(self, principal: Principal) -> KnownTenant | None:
        tenant = self._fold.tenant(principal.tenant_id)
        if tenant is None:
            if self._lenient or principal.tenant_id == PLATFORM_TENANT:
                return None
            raise NotKnownYet(REFUSAL)
        if tenant.status is TenantStatus.SUSPENDED:
            self._denied(principal, "tenant_suspended")
            raise TenantSuspended("your tenant is suspended; ask the people who run the hub")
        if tenant.status is not TenantStatus.ACTIVE:
            raise unauthenticated()
        return tenant


def _counts(known: Known, user: KnownUser) -> bool:
    """A token that does not say when it was made counts only while there is no moment to hold it against."""
    issued_us = -1 if known.issued_us is None else known.issued_us
    return user.enabled and (not user.not_before_ns or issued_us >= user.not_before_ns // 1000)


def _changes(known: Known, tenant: KnownTenant | None, user: KnownUser | None) -> dict[str, Any]:
    """What is different today. Roles are the hub's to change only if the hub issued the token; another issuer
    may also have entitled the user for less than the tenant is.
    """
    principal, today = known.principal, dict[str, Any]()
    if tenant:
        until_ns = tenant.entitled_until_ns
        own_ns = until_ns if known.of_hub else principal.entitled_until_ns
        today |= {"tier": tenant.tier, "entitled_until_ns": min(until_ns, own_ns)}
    if user and known.of_hub:
        today["roles"] = frozenset(user.roles)
    return {name: value for name, value in today.items() if getattr(principal, name) != value}
