"""Counting what tenants use: amounts, and how far the logs were read, in one transaction of the platform."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import ColumnElement, Text, cast, delete, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from models.usage import Measure, UsageKey, UsageRow, UsageTotal
from storage.postgres.tables.audit import AUDIT_ENTRIES as E
from storage.postgres.tables.usage import USAGE_DAYS as D
from storage.postgres.tables.usage import USAGE_POSITIONS as P
from storage.postgres.tables.usage import USAGE_SEQUENCES as Q
from storage.postgres.tables.usage import USAGE_SOURCES as S
from storage.postgres.tables.user_data import USER_DATA as U

NO_CLAIM: Final = -1
_KEYS: Final = (D.c.tenant_id, D.c.day, D.c.user_id, D.c.tier, D.c.feature, D.c.measure)
_BY: Final[dict[str, ColumnElement[str]]] = {
    "user": D.c.user_id,
    "day": cast(D.c.day, Text),
    "feature": D.c.feature,
    "tier": D.c.tier,
    "tenant": D.c.tenant_id,
    "measure": D.c.measure,
}
By = Literal["user", "day", "feature", "tier", "tenant", "measure"]


class Position(NamedTuple):
    """Where a partition is to be read on, and the last claim before that."""

    next_offset: int = 0
    claim: int = NO_CLAIM


async def make_positions(connection: AsyncConnection, topic: str, count: int) -> None:
    """Begin a topic at its beginning, if it was not begun."""
    begun = [
        {"topic": topic, "partition": partition, "next_offset": 0, "claim": NO_CLAIM}
        for partition in range(count)
    ]
    await connection.execute(insert(P).on_conflict_do_nothing(), begun)


async def positions(connection: AsyncConnection, topic: str) -> dict[int, Position]:
    """Where each of the partitions stands; no other transaction moves them until this one ends."""
    wanted = select(P.c.partition, P.c.next_offset, P.c.claim).where(P.c.topic == topic)
    found = await connection.execute(wanted.order_by(P.c.partition).with_for_update())
    return {partition: Position(next_offset, claim) for partition, next_offset, claim in found}


async def advance(connection: AsyncConnection, topic: str, to: Mapping[int, Position]) -> None:
    """The partitions were counted up to there."""
    for partition, position in to.items():
        place = (P.c.topic == topic) & (P.c.partition == partition)
        await connection.execute(update(P).where(place).values(position._asdict()))


async def add(connection: AsyncConnection, amounts: Mapping[UsageKey, int]) -> None:
    """Add what was used."""
    statement = insert(D)
    more = statement.on_conflict_do_update(
        index_elements=_KEYS, set_={"amount": D.c.amount + statement.excluded.amount}
    )
    await _write(connection, more, amounts)


async def peak(connection: AsyncConnection, amounts: Mapping[UsageKey, int]) -> None:
    """Put down the most of what is no sum; the same again changes nothing."""
    statement = insert(D)
    most = statement.on_conflict_do_update(
        index_elements=_KEYS, set_={"amount": func.greatest(D.c.amount, statement.excluded.amount)}
    )
    await _write(connection, most, amounts)


async def reports(connection: AsyncConnection, sources: Iterable[str]) -> dict[str, int]:
    """The last report of each of these processes that was counted."""
    found = await connection.execute(select(S.c.source, S.c.sequence).where(S.c.source.in_(set(sources))))
    return {row.source: row.sequence for row in found}


async def set_reports(connection: AsyncConnection, last: Mapping[str, int], *, now_ns: int) -> None:
    """These reports are counted."""
    statement = insert(S)
    newer = statement.on_conflict_do_update(
        index_elements=[S.c.source],
        set_={"sequence": statement.excluded.sequence, "heard_ns": statement.excluded.heard_ns},
    )
    rows = [{"source": one, "sequence": last[one], "heard_ns": now_ns} for one in sorted(last)]
    if rows:
        await connection.execute(newer, rows)


async def forget_sources(connection: AsyncConnection, *, before_ns: int) -> None:
    """Processes that were not heard of for longer than the log keeps what they wrote."""
    await connection.execute(delete(S).where(S.c.heard_ns < before_ns))


async def sequences(
    connection: AsyncConnection, users: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], int]:
    """The last signal of each of these (tenant, user) that was counted."""
    wanted = select(Q).where(tuple_(Q.c.tenant_id, Q.c.user_id).in_(list(users)))
    return {(tenant, user): last for tenant, user, last in await connection.execute(wanted)}


async def set_sequences(connection: AsyncConnection, last: Mapping[tuple[str, str], int]) -> None:
    """The signals of these (tenant, user) are counted up to there."""
    statement = insert(Q)
    newer = statement.on_conflict_do_update(
        index_elements=[Q.c.tenant_id, Q.c.user_id], set_={"sequence": statement.excluded.sequence}
    )
    rows = [{"tenant_id": one[0], "user_id": one[1], "sequence": last[one]} for one in sorted(last)]
    if rows:
        await connection.execute(newer, rows)


async def totals(
    connection: AsyncConnection, by: By, *, first: date, before: date, tenant_id: str | None = None
) -> Sequence[UsageTotal]:
    """Amounts of the days from `first` to before `before`; of storage the most of a day, added up over
    whatever was asked for.
    """
    group = _BY[by]
    daily = (
        select(group.label("by"), D.c.measure, D.c.day, D.c.tenant_id, func.sum(D.c.amount).label("amount"))
        .where(D.c.day >= first, D.c.day < before, *_own(tenant_id))
        .group_by(group, D.c.measure, D.c.day, D.c.tenant_id)
        .subquery()
    )
    per_tenant = (
        select(daily.c.by, daily.c.measure, _folded(daily.c.measure, daily.c.amount).label("amount"))
        .group_by(daily.c.by, daily.c.measure, daily.c.tenant_id)
        .subquery()
    )
    statement = select(
        per_tenant.c.by, per_tenant.c.measure, cast(func.sum(per_tenant.c.amount), D.c.amount.type)
    ).group_by(per_tenant.c.by, per_tenant.c.measure)
    found = await connection.execute(statement.order_by(per_tenant.c.by, per_tenant.c.measure))
    return [UsageTotal(by=name, measure=measure, amount=amount) for name, measure, amount in found]


async def rows(
    connection: AsyncConnection, tenant_id: str, *, first: date, before: date
) -> Sequence[UsageRow]:
    """Every line of the days from `first` to before `before`, in a fixed order."""
    columns = (D.c.day, D.c.user_id, D.c.tier, D.c.feature, D.c.measure, D.c.amount)
    wanted = select(*columns).where(D.c.day >= first, D.c.day < before, *_own(tenant_id))
    found = await connection.execute(wanted.order_by(*columns))
    return [UsageRow.model_validate(dict(row)) for row in found.mappings()]


async def stored_bytes(connection: AsyncConnection, tenant_id: str) -> int:
    """Bytes of what is kept of a tenant in its own transaction: user data and audit entries."""
    sizes = (
        select(func.coalesce(func.sum(func.octet_length(cast(U.c.body, Text))), 0)).where(
            U.c.tenant_id == tenant_id
        ),
        select(func.coalesce(func.sum(func.octet_length(E.c.details)), 0)).where(E.c.tenant_id == tenant_id),
    )
    return sum([int((await connection.execute(size)).scalar_one()) for size in sizes])


def _folded(measure: ColumnElement[str], amount: ColumnElement[int]) -> ColumnElement[int]:
    """Days become a month: the sum, or of storage the most."""
    most = func.max(amount).filter(measure == Measure.STORAGE_BYTES)
    return func.coalesce(most, func.sum(amount))


def _own(tenant_id: str | None) -> tuple[ColumnElement[bool], ...]:
    return () if tenant_id is None else (D.c.tenant_id == tenant_id,)


async def _write(connection: AsyncConnection, statement: Any, amounts: Mapping[UsageKey, int]) -> None:
    found = [{**key._asdict(), "amount": amounts[key]} for key in sorted(amounts)]
    if found:
        await connection.execute(statement, found)
