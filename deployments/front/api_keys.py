"""API keys as bearer tokens: `hubk_<id>_<secret>`, known from the local copy of `hub.tenants`.

The secret has 256 random bits, so one SHA-256 keeps it as safe as a slow hash keeps a password.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from hashlib import sha256
from typing import Final

from deployments.front.tenants_fold import TenantsFold
from deployments.front.tokens import REFUSAL, NotKnownYet, unauthenticated
from deployments.front.verified import Known
from models.principal import Principal, Tier
from models.tenant import ApiKeyRecord

PREFIX: Final = "hubk_"
_FORM: Final = re.compile(r"hubk_([a-z0-9]{1,32})_([A-Za-z0-9_-]{20,100})", re.ASCII)


class ApiKeys:
    """Finds whose a key is. `clock` is wall time in nanoseconds."""

    def __init__(self, fold: TenantsFold, clock: Callable[[], int]) -> None:
        self._fold = fold
        self._clock = clock

    def find(self, bearer: str) -> Known:
        """The key's user, confined to its scopes. Unauthenticated, always in the same words, for a forged,
        expired or revoked key.
        """
        form = _FORM.fullmatch(bearer)
        if form is None:
            raise unauthenticated()
        record = self._fold.api_key(form[1])
        if record is None:
            raise NotKnownYet(REFUSAL)
        if record.expires_ns <= self._clock():
            raise unauthenticated()
        if not hmac.compare_digest(sha256(form[2].encode()).hexdigest(), record.secret_sha256):
            raise unauthenticated()
        now_us = self._clock() // 1000  # a key is no statement of the past: it is looked up each time
        expires_s = record.expires_ns / 1e9
        return Known(self._principal(record), expires_s, None, None, 0.0, 0.0, now_us, of_hub=True)

    def _principal(self, record: ApiKeyRecord) -> Principal:
        """Tier and entitlement are the tenant's; roles those of today, where the copy knows of any change."""
        tenant = self._fold.tenant(record.tenant_id)
        return Principal(
            user_id=record.user_id,
            tenant_id=record.tenant_id,
            tier=tenant.tier if tenant else Tier.FREE,
            roles=frozenset(record.roles),
            entitled_until_ns=tenant.entitled_until_ns if tenant else 0,
            scopes=frozenset(record.scopes),
        )
