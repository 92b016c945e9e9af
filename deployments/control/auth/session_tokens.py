"""What a session is carried by: access tokens of a few minutes, and refresh tokens that count once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Annotated, Final

from pydantic import Field

from deployments.control.auth.refresh_tokens import RefreshToken, parsed, refused
from deployments.control.auth.secret_words import hashed, new_secret
from deployments.control.auth.sessions import tell_ended
from deployments.control.changes import Change, Changes
from deployments.control.config import AuthConfig
from deployments.control.signing.signing import SigningKey, SigningKeys
from deployments.front.tokens import mint_of_hub
from models.audit import Outcome
from models.base import Frozen
from models.credentials import LoginSession
from models.errors import NotFound
from models.ids import random_id
from models.people import User
from models.principal import Principal
from models.tenant import Tenant, TenantStatus
from storage.postgres import people, sessions, tenants

_DAY_NS: Final = 86_400 * 10**9


class TokenPair(Frozen):
    """An access token for `expires_in` seconds, and what the next pair is asked for with, once."""

    token_type: str = "Bearer"  # noqa: S105 - the scheme's name
    access_token: Annotated[str, Field(repr=False)]
    expires_in: int
    refresh_token: Annotated[str, Field(repr=False)]
    session_id: str
    session_expires_ns: int
    tenant_id: str
    user_id: str


class SessionTokens:
    """Begins, refreshes and ends sessions. `rng` makes ids, never secrets."""

    def __init__(
        self,
        changes: Changes,
        keys: SigningKeys,
        config: AuthConfig,
        *,
        rng: Random,
    ) -> None:
        self._changes = changes
        self._keys = keys
        self._config = config
        self._rng = rng

    async def begin(self, change: Change, tenant: Tenant, user: User, *, client: str) -> TokenPair:
        """A new session in somebody's change; BrokerUnavailable while no key can sign."""
        key = await self._keys.current()
        secret = new_secret()
        session = LoginSession(
            tenant_id=tenant.tenant_id,
            session_id=random_id(self._rng),
            user_id=user.user_id,
            client=client,
            generation=1,
            created_ns=change.now_ns,
            refreshed_ns=change.now_ns,
            expires_ns=change.now_ns + int(self._config.session_days * _DAY_NS),
        )
        await sessions.add(change.connection, session, secret_sha256=hashed(secret))
        return self._pair(key, session, tenant, user, secret=secret, now_ns=change.now_ns)

    async def refresh(self, text: str) -> TokenPair:
        """The next pair; the token that asked for it counts no more.

        A token that has been used before is in two hands: the whole session ends, for both. A client whose
        answer was lost cannot be told from a thief, so it logs in again. Unauthenticated, always in the same
        words, for any token that is not the newest of a session that goes on.
        """
        token = parsed(text)
        key = await self._keys.current()
        async with self._change(token) as change:
            pair = await self._advanced(change, token, key)
            if pair is None:
                await self._judge(change, token)
        if pair is None:
            raise refused()
        return pair

    async def end(self, text: str) -> None:
        """Log out: the session of this newest token ends. Errors as for `refresh`."""
        token = parsed(text)
        async with self._change(token) as change:
            newest = await sessions.holds(
                change.connection,
                token.session_id,
                generation=token.generation,
                secret_sha256=token.secret_sha256,
            )
            ended = newest and await sessions.end(
                change.connection, token.session_id, now_ns=change.now_ns, because="logged out"
            )
            if ended:
                await tell_ended(change, [token.session_id])
                await change.note("auth.logout", token.session_id)
            else:
                await self._judge(change, token)
        if not ended:
            raise refused()

    @asynccontextmanager
    async def _change(self, token: RefreshToken) -> AsyncIterator[Change]:
        """A change of the tenant that the token names; where there is none the token is wrong like others."""
        try:
            async with self._changes.of(token.tenant_id, actor=token.session_id) as change:
                yield change
        except NotFound:
            raise refused() from None

    async def _advanced(self, change: Change, token: RefreshToken, key: SigningKey) -> TokenPair | None:
        secret = new_secret()
        session = await sessions.advance(
            change.connection,
            token.session_id,
            generation=token.generation,
            secret_sha256=token.secret_sha256,
            following_sha256=hashed(secret),
            now_ns=change.now_ns,
        )
        if session is None:
            return None
        tenant = await tenants.find(change.connection, token.tenant_id)
        account = await people.find(change.connection, session.user_id)
        if tenant is None or tenant.status is not TenantStatus.ACTIVE:
            raise refused()
        if account is None or not account.user.enabled or session.created_ns < account.not_before_ns:
            raise refused()
        return self._pair(key, session, tenant, account.user, secret=secret, now_ns=change.now_ns)

    @staticmethod
    async def _judge(change: Change, token: RefreshToken) -> None:
        """End the session of a token that was used before, and write it down."""
        found = await sessions.find(change.connection, token.session_id)
        if found is None or token.generation >= found.generation:
            return
        if await sessions.end(
            change.connection, token.session_id, now_ns=change.now_ns, because="refresh token used twice"
        ):
            await tell_ended(change, [token.session_id])
            await change.note(
                "auth.reuse",
                token.session_id,
                outcome=Outcome.DENIED,
                user=found.user_id,
                generation=token.generation,
                newest=found.generation,
            )

    def _pair(
        self,
        key: SigningKey,
        session: LoginSession,
        tenant: Tenant,
        user: User,
        *,
        secret: str,
        now_ns: int,
    ) -> TokenPair:
        principal = Principal(
            user_id=user.user_id,
            tenant_id=tenant.tenant_id,
            tier=tenant.tier,
            roles=frozenset(user.roles),
            entitled_until_ns=tenant.entitled_until_ns,
            session_id=session.session_id,
        )
        access = mint_of_hub(
            principal,
            self._config.tokens,
            key.private,
            kid=key.kid,
            token_id=random_id(self._rng),
            now_ns=now_ns,
            ttl_s=self._config.access_s,
        )
        refresh = RefreshToken(tenant.tenant_id, session.session_id, session.generation, secret)
        return TokenPair(
            access_token=access,
            expires_in=self._config.access_s,
            refresh_token=str(refresh),
            session_id=session.session_id,
            session_expires_ns=session.expires_ns,
            tenant_id=tenant.tenant_id,
            user_id=user.user_id,
        )
