"""API keys: made for a user and confined to scopes, shown once, rotated with a grace, revoked at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Annotated, Final

from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from deployments.control.acting import Acting, absent
from deployments.control.auth.secret_words import hashed, new_secret
from deployments.control.changes import Change, Changes
from models.access import Permission, may_grant, permissions_of
from models.base import Frozen
from models.credentials import ApiKey, KeyName, Scopes
from models.errors import BadValue, Forbidden, QuotaExceeded
from models.people import User
from models.tenant import ApiKeyRecord, Kind
from storage.postgres import api_keys, people
from storage.postgres.database import Database

DAY_NS: Final = 86_400 * 10**9
MOST: Final = 50
"""Keys that one user has at a time."""


class NewApiKey(Frozen):
    """What is asked for; `user_id` names another user of the tenant, for whom an administrator makes it."""

    name: KeyName
    scopes: Scopes
    days: Annotated[float, Field(gt=0, le=366)] = 90
    user_id: Annotated[str, Field(max_length=64)] | None = None


class ApiKeyIssued(Frozen):
    """A key and its `token`, which is shown this once."""

    key: ApiKey
    token: str


class ApiKeyDesk:
    """What the routes of keys call. `rng` makes the ids, never the secrets; `clock` is wall time in ns."""

    def __init__(self, database: Database, changes: Changes, rng: Random, clock: Callable[[], int]) -> None:
        self._database = database
        self._changes = changes
        self._rng = rng
        self._clock = clock

    async def issue(self, on: Acting, new: NewApiKey) -> ApiKeyIssued:
        """A new key. BadValue for scopes that its user's roles do not allow, Forbidden for a user whose roles
        the caller could not give, NotFound for none.
        """
        async with self._changes.of(on.tenant_id, actor=on.caller.user_id) as change:
            user = await _user_of(on, change, new.user_id or on.caller.user_id)
            _check_scopes(on, user, new.scopes)
            if await api_keys.count(change.connection, user.user_id, now_ns=change.now_ns) >= MOST:
                raise QuotaExceeded(f"the user has {MOST} keys already; revoke one first", field="user_id")
            expires_ns = change.now_ns + int(new.days * DAY_NS)
            issued = await self._added(change, user.user_id, new.name, new.scopes, expires_ns=expires_ns)
            await change.note(
                "keys.create", issued.key.key_id, user=user.user_id, scopes=list(issued.key.scopes)
            )
        return issued

    async def page(self, on: Acting, *, after: str, most: int) -> Sequence[ApiKey]:
        """Keys that are good: one's own, or with the permission those of all."""
        whose = None if on.may(Permission.KEYS_ALL) else on.caller.user_id
        async with self._database.tenant(on.tenant_id) as connection:
            return await api_keys.page(
                connection, user_id=whose, now_ns=self._clock(), after=after, most=most
            )

    async def revoke(self, on: Acting, key_id: str) -> None:
        """End a key; it is refused everywhere within a second. NotFound for one that is not there or is
        somebody else's.
        """
        async with self._changes.of(on.tenant_id, actor=on.caller.user_id) as change:
            key = await _key_of(on, change, key_id)
            await api_keys.revoke(change.connection, key_id, now_ns=change.now_ns)
            await change.announce(Kind.API_KEY, key_id)
            await change.note("keys.revoke", key_id, user=key.user_id)

    async def rotate(self, on: Acting, key_id: str, *, grace_s: int) -> ApiKeyIssued:
        """Another key with the same name, scopes and length of life. The old one stays good for the grace."""
        async with self._changes.of(on.tenant_id, actor=on.caller.user_id) as change:
            key = await _key_of(on, change, key_id)
            user = await _user_of(on, change, key.user_id)
            _check_scopes(on, user, key.scopes)
            lives_ns = key.expires_ns - key.created_ns
            issued = await self._added(
                change, key.user_id, key.name, key.scopes, expires_ns=change.now_ns + lives_ns
            )
            ends_ns = min(key.expires_ns, change.now_ns + grace_s * 10**9)
            await api_keys.expire(change.connection, key_id, at_ns=ends_ns)
            await change.announce(Kind.API_KEY, key_id)
            await change.note("keys.rotate", key_id, followed_by=issued.key.key_id, good_until_ns=ends_ns)
        return issued

    async def _added(
        self, change: Change, user_id: str, name: str, scopes: Sequence[Permission], *, expires_ns: int
    ) -> ApiKeyIssued:
        secret = new_secret()
        key = ApiKey(
            tenant_id=change.tenant_id,
            key_id=f"{self._rng.getrandbits(64):016x}",
            user_id=user_id,
            name=name,
            scopes=tuple(scopes),
            created_ns=change.now_ns,
            expires_ns=expires_ns,
        )
        await api_keys.add(change.connection, key, secret_sha256=hashed(secret))
        await change.announce(Kind.API_KEY, key.key_id)
        return ApiKeyIssued(key=key, token=f"{key.prefix}{secret}")


async def render(connection: AsyncConnection, ids: Sequence[str]) -> ApiKeyRecord | None:
    """What the log says of a key: its hash, whose it is, what it may do; nothing of one that was revoked."""
    found = await api_keys.telling(connection, ids[0])
    if found is None:
        return None
    return ApiKeyRecord(
        key_id=found.key.key_id,
        tenant_id=found.key.tenant_id,
        user_id=found.key.user_id,
        secret_sha256=found.secret_sha256.hex(),
        roles=found.roles,
        scopes=found.key.scopes,
        expires_ns=found.key.expires_ns,
    )


async def _user_of(on: Acting, change: Change, user_id: str) -> User:
    """A user for whom the caller may make keys: itself, or one whose roles it could give."""
    account = await people.find(change.connection, user_id)
    own = on.tenant_id == on.caller.tenant_id and user_id == on.caller.user_id
    if account is None or not (own or on.may(Permission.KEYS_ALL)):
        raise absent()
    if not own and not may_grant(on.caller.roles, account.user.roles):
        raise Forbidden("your role may not act for a user with that user's roles", field="user_id")
    return account.user


async def _key_of(on: Acting, change: Change, key_id: str) -> ApiKey:
    key = await api_keys.find(change.connection, key_id, now_ns=change.now_ns)
    if key is None:
        raise absent()
    own = on.tenant_id == on.caller.tenant_id and key.user_id == on.caller.user_id
    if not (own or on.may(Permission.KEYS_ALL)):
        raise absent()
    return key


def _check_scopes(on: Acting, user: User, scopes: Sequence[Permission]) -> None:
    """A key does no more than its user, and one that a key makes no more than that key."""
    allowed = permissions_of(user.roles)
    confined = on.caller.scopes
    beyond = [one for one in scopes if one not in allowed or (confined is not None and one not in confined)]
    if beyond:
        raise BadValue(f"the user's roles, or your own key, do not allow {', '.join(beyond)}", field="scopes")
