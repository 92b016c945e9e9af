"""Invitations: a place in a tenant for somebody who chooses the password alone."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Annotated, Final

from pydantic import Field

from deployments.control.acting import Acting
from deployments.control.auth.passwords import Passwords
from deployments.control.auth.secret_words import hashed, new_secret
from deployments.control.changes import Change, Changes
from deployments.control.people.desk import add_user, check_roles
from models.access import Role
from models.base import Frozen
from models.errors import Unauthenticated
from models.people import Email, Invitation, Login, NewUser, Password, PersonName, Roles, User, new_user_id
from models.tenant import TenantStatus
from storage.postgres import invitations, tenants
from storage.postgres.database import Database

DAYS_NS: Final = 7 * 86_400 * 10**9
_PREFIX: Final = "hinv"


class NewInvitation(Frozen):
    """Who is invited to which roles."""

    login: Login
    roles: Roles = (Role.TRADER,)


class InvitationSent(Frozen):
    """An invitation and its `token`, which is shown this once: hand it to the one who is invited."""

    invitation: Invitation
    token: str


class Acceptance(Frozen):
    """The token of an invitation, and what the new user goes by."""

    token: Annotated[str, Field(max_length=300)]
    name: PersonName
    email: Email | None = None
    password: Password


class InvitationDesk:
    """What the routes of invitations call; `rng` makes the ids, never the secrets."""

    def __init__(self, database: Database, changes: Changes, passwords: Passwords, rng: Random) -> None:
        self._database = database
        self._changes = changes
        self._passwords = passwords
        self._rng = rng

    async def invite(self, acting: Acting, new: NewInvitation) -> InvitationSent:
        """Keep a place for a week. Forbidden for roles that the caller may not give."""
        check_roles(acting.caller, acting.tenant_id, new.roles)
        async with self._changes.of(acting.tenant_id, actor=acting.caller.user_id) as change:
            return await invite(change, new, invitation_id=f"i-{self._rng.getrandbits(96):024x}")

    async def waiting(self, tenant_id: str, *, now_ns: int) -> Sequence[Invitation]:
        """Those that can still be accepted."""
        async with self._database.tenant(tenant_id) as connection:
            return await invitations.waiting(connection, now_ns=now_ns)

    async def withdraw(self, acting: Acting, invitation_id: str) -> None:
        """End an invitation; NotFound if there is none to end."""
        async with self._changes.of(acting.tenant_id, actor=acting.caller.user_id) as change:
            await invitations.withdraw(change.connection, invitation_id)
            await change.note("invitations.withdraw", invitation_id)

    async def accept(self, accepted: Acceptance) -> User:
        """The new user. Unauthenticated, in the same words, for any token but a waiting invitation's."""
        tenant_id, invitation_id, secret = _parts(accepted.token)
        password_hash = await self._passwords.hashed(accepted.password)
        async with self._changes.of(tenant_id, actor=invitation_id, new=True) as change:
            taken = await invitations.accept(
                change.connection, invitation_id, secret_sha256=hashed(secret), now_ns=change.now_ns
            )
            tenant = await tenants.find(change.connection, tenant_id)
            if taken is None or tenant is None or tenant.status is not TenantStatus.ACTIVE:
                raise _refused()
            new = NewUser(login=taken.login, name=accepted.name, email=accepted.email, roles=taken.roles)
            return await add_user(change, new, user_id=new_user_id(self._rng), password_hash=password_hash)


async def invite(change: Change, new: NewInvitation, *, invitation_id: str) -> InvitationSent:
    """Keep a place in somebody's change."""
    secret = new_secret()
    invitation = Invitation(
        tenant_id=change.tenant_id,
        invitation_id=invitation_id,
        login=new.login,
        roles=new.roles,
        invited_by=change.actor,
        created_ns=change.now_ns,
        expires_ns=change.now_ns + DAYS_NS,
    )
    await invitations.add(change.connection, invitation, secret_sha256=hashed(secret))
    await change.note("invitations.create", invitation_id, login=new.login, roles=list(new.roles))
    return InvitationSent(
        invitation=invitation, token=f"{_PREFIX}.{change.tenant_id}.{invitation_id}.{secret}"
    )


def _parts(token: str) -> tuple[str, str, str]:
    parts = token.split(".")
    if len(parts) != 4 or parts[0] != _PREFIX or not all(parts):
        raise _refused()
    return parts[1], parts[2], parts[3]


def _refused() -> Unauthenticated:
    return Unauthenticated("this invitation is not valid (any more); ask for a new one")
