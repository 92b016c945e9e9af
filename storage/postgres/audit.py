"""The audit log of each tenant: the next entry, and pages of what was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    LargeBinary,
    RowMapping,
    Text,
    bindparam,
    cast,
    func,
    insert,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from models.audit import AuditEntry, AuditRecord, Outcome
from storage.audit_chain import ENTRY_DOMAIN, Anchor, link, origin, written
from storage.postgres.tables.audit import AUDIT_ENTRIES as E
from storage.postgres.tables.audit import AUDIT_HEADS as H

_FIRST: Final = 1
_MOST_PLACES: Final = 500


def _given(name: str, kind: Any = Text) -> ColumnElement[Any]:
    return cast(bindparam(name, type_=kind()), kind)


def _following() -> ColumnElement[bytes]:
    """`storage.audit_chain.link`, in the database: only there is known what an entry follows."""
    sequence = func.int8send(H.c.sequence + 1)
    parts = (_given("domain", LargeBinary), H.c.hash, sequence, _given("content", LargeBinary))
    joined: ColumnElement[bytes] = parts[0]
    for part in parts[1:]:
        joined = joined.op("||", return_type=LargeBinary())(part)
    return func.sha256(joined)


_HEAD: Final = (
    upsert(H)
    .values(tenant_id=_given("tenant"), sequence=_FIRST, hash=_given("first", LargeBinary))
    .on_conflict_do_update(
        index_elements=[H.c.tenant_id], set_={"sequence": H.c.sequence + 1, "hash": _following()}
    )
    .returning(H.c.sequence, H.c.hash)
    .cte("head")
)
_ENTRY: Final = {
    E.c.tenant_id: _given("tenant"),
    E.c.sequence: _HEAD.c.sequence,
    E.c.at_ns: _given("at_ns", BigInteger),
    E.c.actor: _given("actor"),
    E.c.action: _given("action"),
    E.c.object: _given("object"),
    E.c.outcome: _given("outcome"),
    E.c.details: _given("details"),
    E.c.hash: _HEAD.c.hash,
}
_APPEND: Final = insert(E).from_select(list(_ENTRY), select(*_ENTRY.values()))
"""One statement, one round trip. It holds the row of the tenant's head until the transaction ends, so it is
the last one there: who waits for that row holds nothing that its holder still wants.
"""


async def append(connection: AsyncConnection, tenant_id: str, entry: AuditEntry) -> None:
    """Write the next entry of the tenant's log, in the transaction that makes the change.

    Call it last: other changes of the tenant wait for the end of this transaction.
    """
    made = written(tenant_id, entry)
    row = {
        "tenant": tenant_id,
        "at_ns": entry.at_ns,
        "actor": made.actor,
        "action": made.action,
        "object": made.object,
        "outcome": entry.outcome.value,
        "details": made.details,
        "content": made.content,
        "domain": ENTRY_DOMAIN,
        "first": link(origin(tenant_id).hash, _FIRST, made.content),
    }
    await connection.execute(_APPEND, row)


class Wanted(NamedTuple):
    """Which entries: None is any."""

    actor: str | None = None
    action: str | None = None
    outcome: Outcome | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        asked = {"actor": self.actor, "action": self.action, "outcome": self.outcome}
        return [E.c[name] == value for name, value in asked.items() if value is not None]


class Place(NamedTuple):
    """Where a page over all tenants ended."""

    at_ns: int = 0
    tenant_id: str = ""
    sequence: int = 0


async def page(
    connection: AsyncConnection, tenant_id: str, wanted: Wanted, *, after: int, most: int
) -> Sequence[AuditRecord]:
    """Entries of a tenant behind the sequence `after`, in their order."""
    statement = select(E).where(E.c.tenant_id == tenant_id, E.c.sequence > after, *wanted.conditions())
    rows = await connection.execute(statement.order_by(E.c.sequence).limit(most))
    return [_record(row) for row in rows.mappings()]


async def platform_page(
    connection: AsyncConnection, wanted: Wanted, *, after: Place, most: int
) -> Sequence[AuditRecord]:
    """Entries of all tenants by time, for the platform. Of one moment and behind a page others may still be
    committed: who must miss none reads each tenant by sequence.
    """
    order = (E.c.at_ns, E.c.tenant_id, E.c.sequence)
    statement = select(E).where(tuple_(*order) > tuple_(*after), *wanted.conditions())
    rows = await connection.execute(statement.order_by(*order).limit(most))
    return [_record(row) for row in rows.mappings()]


async def head(connection: AsyncConnection, tenant_id: str) -> Anchor | None:
    """The last entry of a tenant's log; None before the first."""
    found = await connection.execute(select(H.c.sequence, H.c.hash).where(H.c.tenant_id == tenant_id))
    row = found.first()
    return Anchor(*row) if row else None


async def heads(connection: AsyncConnection) -> dict[str, Anchor]:
    """The last entry of every log, for the platform."""
    rows = await connection.execute(select(H.c.tenant_id, H.c.sequence, H.c.hash))
    return {tenant_id: Anchor(sequence, found) for tenant_id, sequence, found in rows}


async def standing(connection: AsyncConnection, expected: Mapping[str, Anchor]) -> frozenset[str]:
    """Those of the tenants whose log still has this hash at this place."""
    places = [(tenant_id, at.sequence, at.hash) for tenant_id, at in expected.items()]
    found: set[str] = set()
    for first in range(0, len(places), _MOST_PLACES):
        some = tuple_(E.c.tenant_id, E.c.sequence, E.c.hash).in_(places[first : first + _MOST_PLACES])
        found.update((await connection.execute(select(E.c.tenant_id).where(some))).scalars())
    return frozenset(found)


def _record(row: RowMapping) -> AuditRecord:
    said = {**row, "details": orjson.loads(row["details"]), "hash": row["hash"].hex()}
    return AuditRecord.model_validate(said)
