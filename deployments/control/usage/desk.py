"""What tenants used, as it is read; and the tasks that count it."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Final, NoReturn

from deployments.control.usage.alerts import AlertTeller
from deployments.control.usage.intake import CountReports, CountSignals, TopicCount, UsageWires
from deployments.control.usage.storage import StorageCount
from models.errors import BadValue
from models.usage import UsageRow, UsageTotal, days_of, month_of
from storage.postgres import usage
from storage.postgres.database import Database
from storage.postgres.usage import By

_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would take for a formula if a cell began with it."""


class UsageDesk:
    """What the routes of usage call."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def totals(self, tenant_id: str, month: str, by: By) -> Sequence[UsageTotal]:
        """What a tenant used in a month."""
        first, before = _days(month)
        async with self._database.tenant(tenant_id) as connection:
            return await usage.totals(connection, by, first=first, before=before, tenant_id=tenant_id)

    async def rows(self, tenant_id: str, month: str) -> Sequence[UsageRow]:
        """The lines of a tenant's bill for a month."""
        first, before = _days(month)
        async with self._database.tenant(tenant_id) as connection:
            return await usage.rows(connection, tenant_id, first=first, before=before)

    async def platform_totals(self, month: str, by: By) -> Sequence[UsageTotal]:
        """What all tenants used together in a month."""
        first, before = _days(month)
        async with self._database.platform() as connection:
            return await usage.totals(connection, by, first=first, before=before)


class UsageCounting:
    """Everything that counts, as one task."""

    def __init__(self, wires: UsageWires) -> None:
        self._counts = [TopicCount(CountReports(), wires), TopicCount(CountSignals(), wires)]
        self._storage = StorageCount(wires.database, wires.allowances, clock=wires.clock, rng=wires.rng)
        self._teller = AlertTeller(wires.database, wires.bus, clock=wires.clock, rng=wires.rng)

    async def run(self) -> NoReturn:
        """Count and tell, until cancelled; ends for nothing but a defect."""
        async with asyncio.TaskGroup() as tasks:
            for count in self._counts:
                tasks.create_task(count.run())
            tasks.create_task(self._storage.run())
            await self._teller.run()

    async def close(self) -> None:
        await self._teller.close()


def this_month(now_ns: int) -> str:
    """The month of the moment, in UTC."""
    return month_of(datetime.fromtimestamp(now_ns // 10**9, UTC).date())


def csv_of(rows: Sequence[UsageRow]) -> str:
    """RFC 4180, with a head. A cell that a spreadsheet would run as a formula gets a quote before it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(UsageRow.model_fields)
    for row in rows:
        writer.writerow([_cell(value) for value in row.model_dump(mode="json").values()])
    return text.getvalue()


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULAS) else value


def _days(month: str) -> tuple[date, date]:
    try:
        return days_of(month)
    except ValueError:
        raise BadValue(f"month was {month!r}; expected one as 2026-11", field="month") from None
