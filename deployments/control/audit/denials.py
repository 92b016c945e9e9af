"""Writes denials of the data plane into the audit logs, each report once, through every kill and outage.

tail from the stored position -> a transaction of the report's tenant: taken, entries appended -> position
advanced. Any number of replicas may do this: who comes second finds the report taken.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Final, NoReturn

from pydantic import ValidationError

from messaging.ports import EventBus, LogRecord, Tail
from messaging.topics import DENIALS
from models.audit import AuditEntry, Denial, DenialReport, Outcome
from models.errors import HubError
from models.metrics import Meter
from storage.postgres import audit, denials
from storage.postgres.database import Database

_LOG: Final = logging.getLogger("ray.serve")
_PARTITION: Final = 0
_WAIT_S: Final = 0.5
_REST_S: Final = 1.0
_RETRY_S: Final = 1.0
_KEPT_NS: Final = 40 * 86_400 * 10**9
"""Longer than `hub.denials` keeps reports: no process is forgotten of which one may come again."""


class DenialIntake:
    """Run `run` as a task, or give `take` the records that follow `resume`. `clock` is wall time in
    nanoseconds.
    """

    def __init__(
        self, database: Database, bus: EventBus, *, meter: Meter, clock: Callable[[], int], rng: Random
    ) -> None:
        self._database = database
        self._bus = bus
        self._meter = meter
        self._clock = clock
        self._rng = rng

    async def run(self) -> NoReturn:
        """Write until cancelled. What broker or database refuse for now is tried again."""
        while True:
            try:
                await self._follow()
            except HubError as error:
                _LOG.warning("denials are not written into the audit: %s", error.message)
            await asyncio.sleep(_RETRY_S * (0.5 + self._rng.random()))

    async def close(self) -> None:
        """Nothing is held."""

    async def resume(self) -> int:
        """Where to read on. A topic that ends before its position was made anew: all of it is read."""
        async with self._database.platform() as connection:
            position = await denials.position(connection, _PARTITION)
        _, end = await self._bus.bounds(DENIALS.name, _PARTITION)
        return position if position <= end else 0

    async def take(self, records: Sequence[LogRecord]) -> None:
        """Write the records that follow."""
        outcomes = Counter([await self._take(record) for record in records])
        async with self._database.platform() as connection:
            await denials.set_position(connection, _PARTITION, records[-1].offset + 1)
        for outcome, number in outcomes.items():
            self._meter.count("hub_denials_total", {"outcome": outcome}, number)

    async def _follow(self) -> NoReturn:
        tail = await self._bus.tail(DENIALS.name, {_PARTITION: await self.resume()})
        try:
            while True:
                await self._once(tail)
        finally:
            await tail.close()

    async def _once(self, tail: Tail) -> None:
        if records := await tail.batch(max_wait_s=_WAIT_S):
            await self.take(records)
        await asyncio.sleep(_REST_S)

    async def _take(self, record: LogRecord) -> str:
        report = read_report(record)
        if report is None:
            return "unreadable"
        now_ns = self._clock()
        async with self._database.tenant(report.tenant_id) as connection:
            if not await denials.take(connection, report, now_ns=now_ns):
                return "repeated"
            await denials.forget_sources(connection, report.tenant_id, before_ns=now_ns - _KEPT_NS)
            for denial in report.denials:
                await audit.append(connection, report.tenant_id, _entry(report, denial))
        return "written"


def read_report(record: LogRecord) -> DenialReport | None:
    """The report, if it is one, and under the name of its tenant."""
    try:
        report = DenialReport.from_record(record.value or b"")
    except ValidationError:
        return None
    return report if report.tenant_id.encode() == record.key else None


def _entry(report: DenialReport, denial: Denial) -> AuditEntry:
    return AuditEntry(
        actor=denial.user_id,
        action=denial.action,
        object=denial.object,
        outcome=Outcome.DENIED,
        at_ns=denial.at_ns,
        details={"times": denial.times, "by": report.source.rpartition("-")[0]},
    )
