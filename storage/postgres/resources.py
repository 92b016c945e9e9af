"""Leases in PostgreSQL. What callers ask together is decided by one statement, in the order they asked.

The database's own clock decides what has expired: hosts that disagree about the time share one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import BigInteger, Text, cast, delete, func, select
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from models.resources import Lease, Limits, Resource, Shortage
from storage.postgres.config import SCHEMA
from storage.postgres.tables.resources import LEASES, RESOURCE_USE

_HUB: Final = getattr(func, SCHEMA)


@dataclass(frozen=True, slots=True)
class Request:
    """A lease that somebody wants."""

    lease_id: str
    holder: str
    requirements: Mapping[Resource, int]
    ttl_ns: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What is decided together. A lease is named at most once in all of it."""

    requests: Sequence[Request] = ()
    renewals: Mapping[str, int] = field(default_factory=dict)
    ends: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that was not granted. `free_ns` is when enough will have expired, None if it never will."""

    shortage: Shortage
    free_ns: int | None


@dataclass(frozen=True, slots=True)
class Decided:
    """The verdicts, by lease: `held` are requests granted now or before, `barred` renewals of what the tenant
    may not have any more. What was not there is in none of them.
    """

    now_ns: int
    held: Mapping[str, Lease]
    refused: Mapping[str, Refusal]
    renewed: Mapping[str, Lease]
    barred: frozenset[str]
    ended: frozenset[str]


async def decide(
    connection: AsyncConnection, batch: Batch, limits: Limits, *, now_ns: int | None = None
) -> Decided:
    """Decide in the transaction of the batch's tenant, which no other process does until it ends. Without
    `now_ns` it is the database's time.
    """
    statement = select(
        _HUB.decide_leases(
            cast(list(batch.ends), ARRAY(Text)),
            cast([{"id": name, "ttl_ns": ttl_ns} for name, ttl_ns in batch.renewals.items()], JSONB),
            cast([_asked(request) for request in batch.requests], JSONB),
            cast(dict(limits), JSONB),
            cast(now_ns, BigInteger),
            type_=JSONB,
        )
    )
    return _decided((await connection.execute(statement)).scalar_one())


async def in_use(connection: AsyncConnection, *, now_ns: int | None = None) -> Mapping[Resource, int]:
    """What the transaction's tenant holds, without what has expired; what it has none of is absent."""
    asked = select(_HUB.resources_in_use(cast(now_ns, BigInteger), type_=JSONB))
    found = (await connection.execute(asked)).scalar_one() or {}
    return {Resource(name): amount for name, amount in found.items()}


async def forget(connection: AsyncConnection, tenant_id: str) -> None:
    """Delete all that is held, as a tenant is deleted."""
    await connection.execute(delete(LEASES).where(LEASES.c.tenant_id == tenant_id))
    await connection.execute(delete(RESOURCE_USE).where(RESOURCE_USE.c.tenant_id == tenant_id))


def _asked(request: Request) -> dict[str, Any]:
    return {
        "id": request.lease_id,
        "holder": request.holder,
        "amounts": dict(request.requirements),
        "ttl_ns": request.ttl_ns,
    }


def _decided(answer: dict[str, Any]) -> Decided:
    return Decided(
        now_ns=answer["now_ns"],
        held={name: _lease(row) for name, row in (answer["held"] or {}).items()},
        refused={row["id"]: _refusal(row) for row in answer["refused"] or ()},
        renewed={row["lease_id"]: _lease(row) for row in answer["renewed"]},
        barred=frozenset(answer["barred"]),
        ended=frozenset(answer["ended"] or ()),
    )


def _lease(row: dict[str, Any]) -> Lease:
    return Lease(
        tenant_id=row["tenant_id"],
        lease_id=row["lease_id"],
        holder=row["holder"],
        requirements=row["amounts"],
        created_ns=row["created_ns"],
        expires_ns=row["expires_ns"],
    )


def _refusal(row: dict[str, Any]) -> Refusal:
    shortage = Shortage(resource=row["resource"], limit=row["most"], in_use=row["in_use"], asked=row["asked"])
    return Refusal(shortage, row["free_ns"])
