"""The rows of API keys. Of the secret only its SHA-256 is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from models.credentials import ApiKey
from storage.postgres.tables.people import API_KEYS as K
from storage.postgres.tables.people import USERS as U

_SHOWN = [column for column in K.c if column.name != "secret_sha256"]


@dataclass(frozen=True, slots=True)
class Telling:
    """A key with what every process must know beside: the hash of its secret, and its user's roles."""

    key: ApiKey
    secret_sha256: bytes
    roles: tuple[str, ...]


async def add(connection: AsyncConnection, key: ApiKey, *, secret_sha256: bytes) -> None:
    """Write a new key."""
    await connection.execute(insert(K).values(key.model_dump() | {"secret_sha256": secret_sha256}))


async def find(connection: AsyncConnection, key_id: str, *, now_ns: int) -> ApiKey | None:
    """A key that is good. Its row stays locked: it is read in order to be changed."""
    statement = (
        select(*_SHOWN)
        .where(K.c.key_id == key_id, K.c.revoked_ns.is_(None), K.c.expires_ns > now_ns)
        .with_for_update()
    )
    row = (await connection.execute(statement)).mappings().first()
    return ApiKey.model_validate(dict(row)) if row else None


async def page(
    connection: AsyncConnection, *, user_id: str | None, now_ns: int, after: str, most: int
) -> Sequence[ApiKey]:
    """Keys that are good, of one user or of all, by id from behind `after`."""
    conditions = [K.c.revoked_ns.is_(None), K.c.expires_ns > now_ns, K.c.key_id > after]
    if user_id is not None:
        conditions.append(K.c.user_id == user_id)
    statement = select(*_SHOWN).where(*conditions).order_by(K.c.key_id).limit(most)
    return [ApiKey.model_validate(dict(row)) for row in (await connection.execute(statement)).mappings()]


async def count(connection: AsyncConnection, user_id: str, *, now_ns: int) -> int:
    """How many good keys a user has; no other is added to them until the transaction ends."""
    await connection.execute(select(U.c.user_id).where(U.c.user_id == user_id).with_for_update())
    good = select(K.c.key_id).where(K.c.user_id == user_id, K.c.revoked_ns.is_(None), K.c.expires_ns > now_ns)
    return len((await connection.execute(good)).all())


async def revoke(connection: AsyncConnection, key_id: str, *, now_ns: int) -> None:
    """The key is good no more."""
    await connection.execute(update(K).where(K.c.key_id == key_id).values(revoked_ns=now_ns))


async def expire(connection: AsyncConnection, key_id: str, *, at_ns: int) -> None:
    """The key is good until then."""
    await connection.execute(update(K).where(K.c.key_id == key_id).values(expires_ns=at_ns))


async def telling(connection: AsyncConnection, key_id: str) -> Telling | None:
    """A key that was not revoked, with what others must know of it; asked by the platform."""
    joined = K.join(U, (K.c.user_id == U.c.user_id) & (K.c.tenant_id == U.c.tenant_id))
    statement = (
        select(*_SHOWN, K.c.secret_sha256, U.c.roles)
        .select_from(joined)
        .where(K.c.key_id == key_id, K.c.revoked_ns.is_(None))
    )
    row = (await connection.execute(statement)).mappings().first()
    if row is None:
        return None
    values: dict[str, Any] = dict(row)
    secret, roles = values.pop("secret_sha256"), values.pop("roles")
    return Telling(ApiKey.model_validate(values), secret, tuple(roles))


async def tenants_with_stale(connection: AsyncConnection, *, before_ns: int) -> Sequence[str]:
    """Whose keys ran out before this moment, or were revoked; asked by the platform."""
    stale = (K.c.expires_ns < before_ns) | (K.c.revoked_ns < before_ns)
    return list((await connection.execute(select(K.c.tenant_id).where(stale).distinct())).scalars())


async def forget_stale(connection: AsyncConnection, *, before_ns: int) -> Sequence[str]:
    """Delete the tenant's keys that ran out before this moment, or were revoked; their ids."""
    stale = (K.c.expires_ns < before_ns) | (K.c.revoked_ns < before_ns)
    return list((await connection.execute(delete(K).where(stale).returning(K.c.key_id))).scalars())
