"""What tenants are told of their limits: noticed once, told once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from sqlalchemy import Text, cast, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from models.principal import Tier
from models.usage import Measure, days_of
from storage.postgres.tables.people import TENANTS as T
from storage.postgres.tables.usage import USAGE_ALERTS as A
from storage.postgres.tables.usage import USAGE_DAYS as D

ENDED: Final = 0
"""The level of an entitlement that ended."""


class Standing(NamedTuple):
    """What a tenant has used of a measure in a month, and what it pays for."""

    tenant_id: str
    month: str
    measure: Measure
    used: int
    tier: Tier
    entitled_until_ns: int


class Alert(NamedTuple):
    """A level that was reached: a share of the limit in percent, 100 beyond it, or `ENDED`."""

    tenant_id: str
    month: str
    measure: Measure
    level: int
    used: int
    allowed: int
    at_ns: int


async def standings(connection: AsyncConnection, touched: Iterable[tuple[str, str]]) -> Sequence[Standing]:
    """How these (tenant, month) stand; of storage the most of a day."""
    asked = sorted(touched)
    first = min(days_of(text)[0] for _, text in asked)
    month = func.to_char(D.c.day, "YYYY-MM")
    daily = (
        select(D.c.tenant_id, month.label("month"), D.c.measure, func.sum(D.c.amount).label("amount"))
        .where(D.c.tenant_id.in_({tenant for tenant, _ in asked}), D.c.day >= first)
        .where(tuple_(D.c.tenant_id, month).in_(asked))
        .group_by(D.c.tenant_id, month, D.c.measure, D.c.day)
        .subquery()
    )
    most = func.max(daily.c.amount).filter(daily.c.measure == Measure.STORAGE_BYTES)
    used = cast(func.coalesce(most, func.sum(daily.c.amount)), A.c.used.type)
    statement = (
        select(daily.c.tenant_id, daily.c.month, daily.c.measure, used, T.c.tier, T.c.entitled_until_ns)
        .join(T, T.c.tenant_id == daily.c.tenant_id)
        .group_by(daily.c.tenant_id, daily.c.month, daily.c.measure, T.c.tier, T.c.entitled_until_ns)
    )
    found = await connection.execute(statement)
    return [
        Standing(tenant, month, Measure(measure), amount, Tier(tier), until_ns)
        for tenant, month, measure, amount, tier, until_ns in found
    ]


async def put(connection: AsyncConnection, alerts: Iterable[Alert]) -> None:
    """Put down what was reached; what was before stays as it is."""
    rows = [alert._asdict() for alert in sorted(alerts)]
    if rows:
        await connection.execute(insert(A).on_conflict_do_nothing(), rows)


async def untold(connection: AsyncConnection, *, most: int) -> Sequence[Alert]:
    """Those that wait to be told, the oldest first."""
    columns = [A.c[name] for name in Alert._fields]
    found = await connection.execute(
        select(*columns).where(A.c.told_ns.is_(None)).order_by(A.c.at_ns, *columns[:4]).limit(most)
    )
    return [Alert(*row) for row in found]


async def told(connection: AsyncConnection, alert: Alert, *, now_ns: int) -> bool:
    """Mark it as told, in the tenant's transaction; False if it was."""
    place = tuple_(A.c.tenant_id, A.c.month, A.c.measure, A.c.level) == tuple_(
        *(cast(text, Text) for text in alert[:3]), alert.level
    )
    marked = update(A).where(place, A.c.told_ns.is_(None)).values(told_ns=now_ns)
    return (await connection.execute(marked)).rowcount == 1
