"""Moving events of the log into the database: rows and positions in one transaction of the platform.

A position is locked and compared before anything is written (`held`), so of two consumers that read the same
records one writes them, and the other learns that it was overtaken.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    JSON,
    BigInteger,
    CursorResult,
    FromClause,
    Integer,
    Text,
    bindparam,
    cast,
    column,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

from models.tenant import TenantStatus
from models.user_event import DataType
from storage.postgres.tables.people import TENANTS
from storage.postgres.tables.user_data import USER_DATA as D
from storage.postgres.tables.user_data import USER_DATA_POSITIONS as P
from storage.postgres.tables.user_data import USER_DATA_QUARANTINE as Q

REPEAT_NS: Final = 31 * 86_400 * 10**9
"""An `event_id` that comes again within this time of its first is the same event. A month is never longer, so
the unique index of a month says nothing else.
"""


class EventRow(NamedTuple):
    """An event as it is stored; `body` is JSON text."""

    tenant_id: str
    user_id: str
    event_id: str
    type: str
    occurred_ns: int
    at_ns: int
    body: str

    @property
    def month(self) -> date:
        """The first day of the month, in UTC, whose partition has it."""
        return month_of(self.at_ns)


class QuarantineRow(NamedTuple):
    """A record that is kept away from everybody, and why."""

    topic: str
    partition: int
    log_offset: int
    timestamp_ms: int
    reason: str
    key: bytes
    value: bytes
    noted_ns: int


def month_of(at_ns: int) -> date:
    """The first day of the month of a moment, in UTC."""
    return datetime.fromtimestamp(at_ns // 10**9, UTC).date().replace(day=1)


async def positions(connection: AsyncConnection, topic: str, partitions: int) -> dict[int, int]:
    """Where to read on in each partition; 0 for one that was never read."""
    rows = [{"topic": topic, "partition": number, "next_offset": 0} for number in range(partitions)]
    await connection.execute(insert(P).values(rows).on_conflict_do_nothing())
    found = await connection.execute(select(P.c.partition, P.c.next_offset).where(P.c.topic == topic))
    return {number: offset for number, offset in found if number < partitions}


async def held(connection: AsyncConnection, topic: str, starts: Mapping[int, int]) -> set[int]:
    """The partitions that still stand where the caller believes: nobody else moves them until the transaction
    ends. They are locked in their order, so that two consumers cannot wait for each other.
    """
    statement = (
        select(P.c.partition, P.c.next_offset)
        .where(P.c.topic == topic, P.c.partition == func.any(bindparam("partitions", type_=ARRAY(Integer))))
        .order_by(P.c.partition)
        .with_for_update()
    )
    found = await connection.execute(statement, {"partitions": sorted(starts)})
    return {number for number, offset in found if starts[number] == offset}


async def advance(connection: AsyncConnection, topic: str, ends: Mapping[int, int]) -> None:
    """Set the positions of partitions that are held."""
    n = _rows(partition=Integer(), next_offset=BigInteger())
    statement = (
        update(P)
        .where(P.c.topic == topic, P.c.partition == n.c.partition)
        .values(next_offset=n.c.next_offset)
    )
    await connection.execute(statement, {"partition_s": list(ends), "next_offset_s": list(ends.values())})


async def add(connection: AsyncConnection, data_type: DataType, rows: Sequence[EventRow]) -> int:
    """Write what is not there yet, and say how much that was. No two rows may be the same event."""
    if not rows:
        return 0
    columns = dict(zip(EventRow._fields, zip(*rows, strict=True), strict=True))
    values: dict[str, Any] = {f"{name}_s": list(column_) for name, column_ in columns.items()}
    times = columns["at_ns"]
    values |= {"kind": data_type.value, "low": min(times) - REPEAT_NS, "high": max(times) + REPEAT_NS}
    result: CursorResult[Any] = await connection.execute(_ADD, values)
    return result.rowcount


async def quarantine(connection: AsyncConnection, rows: Sequence[QuarantineRow]) -> None:
    """Keep what could not be read; a record that is there already is the same one."""
    if rows:
        statement = insert(Q).on_conflict_do_nothing()
        await connection.execute(statement, [row._asdict() for row in rows])


async def deleted(connection: AsyncConnection, tenants: Collection[str]) -> set[str]:
    """Those of the tenants that are deleted."""
    named = TENANTS.c.tenant_id == func.any(bindparam("tenants", type_=ARRAY(Text)))
    statement = select(TENANTS.c.tenant_id).where(named, TENANTS.c.status == TenantStatus.DELETED.value)
    return set((await connection.execute(statement, {"tenants": list(tenants)})).scalars())


async def deleted_since(connection: AsyncConnection, since_ns: int) -> list[str]:
    """Tenants that were deleted after the moment."""
    statement = select(TENANTS.c.tenant_id).where(
        TENANTS.c.status == TenantStatus.DELETED.value, TENANTS.c.changed_ns > since_ns
    )
    return list((await connection.execute(statement)).scalars())


def _rows(**types: TypeEngine[Any]) -> FromClause:
    """Parameters that are arrays, one a column, as a table: one statement for however many rows. PostgreSQL
    could take a text of JSON apart instead, but not one that holds a NUL.
    """
    arrays = [bindparam(f"{name}_s", type_=ARRAY(type_)) for name, type_ in types.items()]
    columns = [column(name, type_) for name, type_ in types.items()]
    return func.unnest(*arrays).table_valued(*columns, name="n").render_derived()


def _adding() -> Any:
    n = _rows(
        tenant_id=Text(),
        user_id=Text(),
        event_id=Text(),
        type=Text(),
        occurred_ns=BigInteger(),
        at_ns=BigInteger(),
        body=Text(),
    )
    kind = bindparam("kind", type_=Text())
    known = D.alias("known")
    repeated = select(known.c.event_id).where(  # the platform may see no more of a row
        known.c.data_type == kind,
        known.c.at_ns.between(bindparam("low", type_=BigInteger()), bindparam("high", type_=BigInteger())),
        known.c.tenant_id == n.c.tenant_id,
        known.c.user_id == n.c.user_id,
        known.c.event_id == n.c.event_id,
        known.c.at_ns.between(n.c.at_ns - REPEAT_NS, n.c.at_ns + REPEAT_NS),
    )
    chosen = [cast(n.c.body, JSON) if name == "body" else n.c[name] for name in EventRow._fields]
    source = select(kind, *chosen).where(~repeated.exists())
    adding = insert(D).from_select(["data_type", *EventRow._fields], source).on_conflict_do_nothing()
    return adding.execution_options(preserve_rowcount=True)


_ADD: Final = _adding()
