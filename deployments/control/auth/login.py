"""Coming in with a password. Every refusal takes as long and says the same."""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple

from pydantic import Field

from deployments.control.auth.lockout import Lockout
from deployments.control.auth.passwords import Passwords
from deployments.control.auth.session_tokens import SessionTokens, TokenPair
from deployments.control.auth.sessions import tell_ended
from deployments.control.auth.source_rate import SourceRate
from deployments.control.changes import Change, Changes
from models.audit import Outcome
from models.base import Frozen
from models.errors import LoginRefused, Shed, TenantSuspended
from models.people import Login, Password
from models.principal import Principal
from models.tenant import Tenant, TenantId, TenantStatus
from storage.postgres import people, sessions, tenants
from storage.postgres.database import Database
from storage.postgres.people import Account

MOST_SESSIONS: Final = 50
"""That one user has at a time; another login ends the one that was used longest ago."""
MOST_WAITING: Final = 32
"""Passwords that wait to be looked at: about two seconds of two processors."""

GivenPassword = Annotated[str, Field(min_length=1, max_length=128, repr=False)]


class LoginAsked(Frozen):
    """Who says it is. `client` is shown where the user's sessions are listed."""

    tenant: TenantId
    login: Login
    password: GivenPassword
    client: Annotated[str, Field(max_length=80)] = ""


class PasswordChange(Frozen):
    """The password as it is and as it shall be."""

    password: GivenPassword
    new_password: Annotated[Password, Field(repr=False)]


class _Found(NamedTuple):
    """What the database has under a tenant's name and a login."""

    tenant: Tenant | None
    account: Account | None


class LoginDesk:
    """What the routes of passwords call."""

    def __init__(
        self,
        database: Database,
        changes: Changes,
        passwords: Passwords,
        tokens: SessionTokens,
        *,
        lockout: Lockout,
        rate: SourceRate,
    ) -> None:
        self._database = database
        self._changes = changes
        self._passwords = passwords
        self._tokens = tokens
        self._lockout = lockout
        self._rate = rate
        self._waiting = 0

    async def login(self, asked: LoginAsked, source: str) -> TokenPair:
        """The tokens of a new session.

        Raises:
            LoginRefused: unknown tenant, unknown login, disabled user or wrong password, all alike.
            TenantSuspended: all of it was right, and nobody of the tenant gets in.
            RateLimited: too many attempts failed, from there or over all; nothing was looked at.
            Shed: too many others are logging in at this moment.
        """
        await self._rate.admit(source)
        await self._lockout.admit(asked.tenant, asked.login, source)
        found = await self._find(asked.tenant, asked.login)
        fits = await self._fits(asked.password, found.account)
        tenant, account = found
        if tenant is None or account is None or not (fits and _may_come_in(tenant, account)):
            there = tenant is not None and tenant.status is not TenantStatus.DELETED
            await self._write_refusal(asked, source, known=there)
            raise LoginRefused("tenant, login and password do not belong together")
        await self._lockout.passed(asked.tenant, asked.login, source)
        if tenant.status is TenantStatus.SUSPENDED:
            raise TenantSuspended("your tenant is suspended; ask the people who run the hub")
        return await self._begin(tenant, account, asked, source)

    async def change_password(self, caller: Principal, asked: PasswordChange, source: str) -> None:
        """Another password for the caller; its other sessions end. Errors as for `login`."""
        await self._rate.admit(source)
        async with self._database.tenant(caller.tenant_id) as connection:
            account = await people.find(connection, caller.user_id)
        login = account.user.login if account else caller.user_id
        await self._lockout.admit(caller.tenant_id, login, source)
        if not await self._fits(asked.password, account):
            raise LoginRefused("this is not your password")
        await self._lockout.passed(caller.tenant_id, login, source)
        password_hash = await self._passwords.hashed(asked.new_password)
        async with self._changes.of(caller.tenant_id, actor=caller.user_id) as change:
            await people.change(
                change.connection, caller.user_id, now_ns=change.now_ns, password_hash=password_hash
            )
            ended = await sessions.end_all(
                change.connection,
                caller.user_id,
                but=caller.session_id,
                now_ns=change.now_ns,
                because="password changed",
            )
            await tell_ended(change, ended)
            await change.note("auth.password", caller.user_id, sessions_ended=len(ended))

    async def _begin(self, tenant: Tenant, account: Account, asked: LoginAsked, source: str) -> TokenPair:
        user, kept = account.user, account.password_hash or ""
        better = await self._passwords.hashed(asked.password) if self._passwords.outdated(kept) else None
        async with self._changes.of(tenant.tenant_id, actor=user.user_id) as change:
            if better:
                await people.change(
                    change.connection, user.user_id, now_ns=change.now_ns, password_hash=better
                )
            pair = await self._tokens.begin(change, tenant, user, client=asked.client)
            await self._make_room(change, user.user_id)
            await change.note("auth.login", pair.session_id, source=source, client=asked.client)
        return pair

    async def _make_room(self, change: Change, user_id: str) -> None:
        ended = await sessions.end_oldest(
            change.connection,
            user_id,
            kept=MOST_SESSIONS,
            now_ns=change.now_ns,
            because="too many sessions",
        )
        await tell_ended(change, ended)

    async def _find(self, tenant_id: str, login: str) -> _Found:
        async with self._database.tenant(tenant_id) as connection:
            tenant = await tenants.find(connection, tenant_id)
            return _Found(tenant, await people.find_by_login(connection, login))

    async def _fits(self, password: str, account: Account | None) -> bool:
        """Whoever has no password, or is not there at all, costs as much time."""
        if self._waiting >= MOST_WAITING:
            raise Shed("too many are logging in at this moment; try again", retry_after_s=2.0)
        self._waiting += 1
        try:
            return await self._passwords.fits(password, account.password_hash if account else None)
        finally:
            self._waiting -= 1

    async def _write_refusal(self, asked: LoginAsked, source: str, *, known: bool) -> None:
        """In the tenant's audit. Of a tenant that is not there nothing is kept, which takes about as long."""
        if known:
            async with self._changes.of(asked.tenant, actor="nobody") as change:
                await change.note("auth.login", asked.login, outcome=Outcome.DENIED, source=source)
        else:
            await self._find(asked.tenant, asked.login)


def _may_come_in(tenant: Tenant, account: Account) -> bool:
    """Whether the tenant is suspended is said later, to those who know the password."""
    return tenant.status is not TenantStatus.DELETED and account.user.enabled
