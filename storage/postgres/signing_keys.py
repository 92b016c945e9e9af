"""The rows of the keys that the hub signs tokens with: the platform's, no tenant's transaction sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.postgres.tables.people import SIGNING_KEYS as K

_TURN: Final = text("SELECT pg_advisory_xact_lock(7205001)")
"""Any number will do that nobody else locks."""


@dataclass(frozen=True, slots=True)
class SealedKey:
    """A key pair; the private half is sealed. It signs from `signs_from_ns` on, and verifies until
    `retired_ns`, where that is known.
    """

    kid: str
    public_jwk: dict[str, str]
    sealed_private: bytes
    created_ns: int
    signs_from_ns: int
    retired_ns: int | None = None


async def turn(connection: AsyncConnection) -> None:
    """Wait until nobody else changes the keys; theirs are seen then. Ends with the transaction."""
    await connection.execute(_TURN)


async def every(connection: AsyncConnection) -> Sequence[SealedKey]:
    """All keys, the newest first."""
    rows = await connection.execute(select(K).order_by(K.c.signs_from_ns.desc(), K.c.kid))
    return [SealedKey(**row) for row in rows.mappings()]


async def public(connection: AsyncConnection, kid: str) -> dict[str, str] | None:
    """The public half of a key."""
    found: dict[str, Any] | None = (
        await connection.execute(select(K.c.public_jwk).where(K.c.kid == kid))
    ).scalar()
    return found


async def add(connection: AsyncConnection, key: SealedKey) -> None:
    """Write a new key."""
    values = {name: getattr(key, name) for name in SealedKey.__slots__}
    await connection.execute(insert(K).values(values))


async def retire(connection: AsyncConnection, *, but: str, at_ns: int) -> None:
    """All keys but this one verify until then, those excepted that end sooner."""
    await connection.execute(
        update(K).where(K.c.kid != but, K.c.retired_ns.is_(None)).values(retired_ns=at_ns)
    )


async def remove(connection: AsyncConnection, kid: str) -> bool:
    """Delete a key; False if it is not there."""
    return (await connection.execute(delete(K).where(K.c.kid == kid))).rowcount > 0


async def remove_retired(connection: AsyncConnection, *, now_ns: int) -> Sequence[str]:
    """Delete the keys whose time is over; their names."""
    statement = delete(K).where(K.c.retired_ns <= now_ns).returning(K.c.kid)
    return list((await connection.execute(statement)).scalars())
