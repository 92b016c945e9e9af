"""Counts topics into the database, each record once, through every kill and outage.

tail from the stored positions -> read -> one transaction: positions held, amounts added, positions advanced.
Any number of replicas may do this: who finds that another has moved a position reads on from there.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, NoReturn, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from deployments.control.usage.alerts import Allowances, raise_alerts
from deployments.control.usage.fold import ReportFold, SignalFold, read_report, read_signal, users_of
from messaging.ports import EventBus, LogRecord, Tail
from messaging.topics import SIGNALS, USAGE, Topic
from models.errors import HubError
from models.metrics import Meter
from models.usage import UsageKey
from storage.postgres import usage
from storage.postgres.database import Database
from storage.postgres.usage import Position

_LOG: Final = logging.getLogger("ray.serve")
BATCH: Final = 5_000
_WAIT_S: Final = 0.5
_RETRY_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageWires:
    """What counting works with. `rest_s` is how long a topic is left alone that had nothing new."""

    database: Database
    bus: EventBus
    meter: Meter
    allowances: Allowances
    clock: Callable[[], int]
    rng: Random
    rest_s: float = 1.0


class Counting(Protocol):
    """What is counted of a topic, inside the transaction that moves its positions."""

    topic: Topic

    async def count(
        self,
        connection: AsyncConnection,
        records: Sequence[LogRecord],
        claims: Mapping[int, int],
        now_ns: int,
    ) -> Counted: ...


@dataclass(frozen=True, slots=True)
class Counted:
    """What records came to, and the last claim of each partition after them."""

    amounts: Mapping[UsageKey, int]
    outcomes: Counter[str]
    claims: Mapping[int, int]


class CountReports:
    """Reports of processes."""

    topic = USAGE

    async def count(
        self,
        connection: AsyncConnection,
        records: Sequence[LogRecord],
        claims: Mapping[int, int],
        now_ns: int,
    ) -> Counted:
        """Those that were not counted before."""
        found = [read_report(record) for record in records]
        fold = ReportFold(await usage.reports(connection, {one.source for one in found if one}))
        for report in found:
            fold.take(report)
        await usage.set_reports(connection, fold.last, now_ns=now_ns)
        return Counted(fold.amounts, fold.outcomes, claims)


class CountSignals:
    """The signals of users."""

    topic = SIGNALS

    async def count(
        self,
        connection: AsyncConnection,
        records: Sequence[LogRecord],
        claims: Mapping[int, int],
        now_ns: int,  # noqa: ARG002 - as the others have it
    ) -> Counted:
        """Those that are valid and were not counted before."""
        found = [read_signal(record) for record in records]
        users = users_of(found)
        fold = SignalFold(claims, await usage.sequences(connection, users) if users else {})
        for record, signal in zip(records, found, strict=True):
            fold.take(record, signal)
        await usage.set_sequences(connection, fold.last)
        return Counted(fold.amounts, fold.outcomes, fold.claims)


class TopicCount:
    """Counts one topic. Run `run` as a task, or give `take` the records that follow `resume`."""

    def __init__(self, counting: Counting, wires: UsageWires) -> None:
        self._counting = counting
        self._topic = counting.topic
        self._wires = wires
        self._positions: dict[int, Position] = {}

    async def run(self) -> NoReturn:
        """Count until cancelled. What broker or database refuse for now is tried again."""
        while True:
            try:
                await self._follow()
            except HubError as error:
                _LOG.warning("%s is not counted: %s", self._topic.name, error.message)
            await asyncio.sleep(_RETRY_S * (0.5 + self._wires.rng.random()))

    async def resume(self) -> dict[int, int]:
        """Where to read on. A topic that ends before its position was made anew: all of it is read."""
        name = self._topic.name
        async with self._wires.database.platform() as connection:
            await usage.make_positions(connection, name, self._topic.partitions)
            found = await usage.positions(connection, name)
            anew = {p: Position() for p in found if await self._ends_before(p, found[p])}
            await usage.advance(connection, name, anew)
        self._positions = found | anew
        return {partition: position.next_offset for partition, position in self._positions.items()}

    async def take(self, records: Sequence[LogRecord]) -> bool:
        """Count the records that follow; False if another has counted some of them, and nothing was done."""
        for at in range(0, len(records), BATCH):
            if not await self._take(records[at : at + BATCH]):
                return False
        return True

    async def _follow(self) -> None:
        """Count until somebody else turns out to do so too."""
        tail = await self._wires.bus.tail(self._topic.name, await self.resume())
        try:
            while await self._once(tail):
                pass
        finally:
            await tail.close()

    async def _once(self, tail: Tail) -> bool:
        records = await tail.batch(max_wait_s=_WAIT_S)
        if len(records) < BATCH // 10:
            await asyncio.sleep(self._wires.rest_s)
        return not records or await self.take(records)

    async def _take(self, records: Sequence[LogRecord]) -> bool:
        now_ns = self._wires.clock()
        touched = {record.partition for record in records}
        async with self._wires.database.platform() as connection:
            found = await usage.positions(connection, self._topic.name)
            if any(found[partition] != self._positions[partition] for partition in touched):
                return False
            claims = {partition: position.claim for partition, position in found.items()}
            counted = await self._counting.count(connection, records, claims, now_ns)
            moved = _moved(records, counted.claims)
            await usage.add(connection, counted.amounts)
            await raise_alerts(connection, counted.amounts, self._wires.allowances, now_ns=now_ns)
            await usage.advance(connection, self._topic.name, moved)
        self._positions |= moved
        for outcome, number in counted.outcomes.items():
            labels = {"topic": self._topic.name, "outcome": outcome}
            self._wires.meter.count("hub_usage_records_total", labels, number)
        return True

    async def _ends_before(self, partition: int, position: Position) -> bool:
        _, end = await self._wires.bus.bounds(self._topic.name, partition)
        return end < position.next_offset


def _moved(records: Iterable[LogRecord], claims: Mapping[int, int]) -> dict[int, Position]:
    return {one.partition: Position(one.offset + 1, claims[one.partition]) for one in records}
