"""Moves one topic of user events into the database, each event once, through every kill and outage.

tail from the stored positions -> read -> one transaction: positions held, rows written, positions advanced.
A process that dies has done all of a batch or none of it. Any number of replicas may do this: who finds that
somebody else has moved a position stands by for some seconds, and then looks again where to read on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from random import Random
from typing import Final, NoReturn

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from deployments.control.user_data.records import Refusal, distinct, kept_away, read_record
from messaging.ports import EventBus, LogRecord, Tail
from messaging.topics import EVENT_MARKS
from models.errors import HubError
from models.metrics import Meter
from models.user_event import EVENT_KINDS, DataType
from storage.postgres import user_data_intake, user_data_months
from storage.postgres.database import Database
from storage.postgres.user_data_intake import EventRow
from storage.postgres.user_data_months import Month

_LOG: Final = logging.getLogger("ray.serve")
BATCH: Final = 2_000
"""Records of one transaction: larger ones gain little, and are longer in the way of others."""
_WAIT_S: Final = 0.25
_REST_S: Final = 1.0
_STAND_BY_S: Final = 4.0
_RETRY_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeWires:
    """What every topic's intake works with. `turn` lets one of them write at a time: the platform's pool is
    small, and not theirs alone. `rest_s` is how long a topic is left alone that had nothing new.
    """

    database: Database
    bus: EventBus
    meter: Meter
    clock: Callable[[], int]
    rng: Random
    turn: asyncio.Lock
    rest_s: float = _REST_S
    stand_by_s: float = _STAND_BY_S


@dataclass(frozen=True, slots=True)
class _Read:
    """What a batch says: rows to write, records to keep away, and where each partition then stands."""

    rows: list[EventRow]
    refused: list[tuple[LogRecord, Refusal]]


class TopicIntake:
    """Moves the events of one type. Run `run` as a task; `state`, `behind_s`, `moved` say how it stands."""

    def __init__(self, data_type: DataType, wires: IntakeWires) -> None:
        self.data_type = data_type
        self.state = "starting"
        self.moved: Counter[str] = Counter()
        self._kind = EVENT_KINDS[data_type]
        self._wires = wires
        self._positions: dict[int, int] = {}
        self._months: set[Month] = set()
        self._complete_ns: int | None = None

    async def run(self) -> NoReturn:
        """Move until cancelled. What the broker or the database refuses for now is tried again."""
        while True:
            try:
                await self._follow()
                self.state = "standing by"
                await self._pause(self._wires.stand_by_s)
            except (HubError, DBAPIError) as error:
                self.state = "waiting"
                _LOG.warning("%s is not moved to the database: %s", self._kind.topic, _first_line(error))
                self._say_behind()
                await self._pause(_RETRY_S)

    @property
    def behind_s(self) -> float | None:
        """All that was written until so many seconds ago is in the database; None if nobody knows yet."""
        return None if self._complete_ns is None else max(0, self._wires.clock() - self._complete_ns) / 1e9

    async def take(self, records: Sequence[LogRecord]) -> bool:
        """Write the records, all from where their partitions stand; False if somebody else has moved one."""
        records = sorted(records, key=lambda one: (one.partition, one.offset))
        for start in range(0, len(records), BATCH):
            if not await self._store(records[start : start + BATCH]):
                return False
        return True

    async def resume(self) -> dict[int, int]:
        """Where to read on, as the database says."""
        async with self._wires.turn, self._wires.database.platform() as connection:
            topic, partitions = self._kind.topic, EVENT_MARKS.partitions
            self._positions = await user_data_intake.positions(connection, topic, partitions)
        await self._begin_anew()
        return dict(self._positions)

    async def _follow(self) -> None:
        """Move until somebody else turns out to do so too."""
        tail = await self._wires.bus.tail(self._kind.topic, await self.resume())
        try:
            self.state = "moving"
            while await self._once(tail):
                self._say_behind()
        finally:
            await tail.close()

    async def _once(self, tail: Tail) -> bool:
        """One look at the log, then a rest if it had little: held partitions are not asked for meanwhile."""
        asked_ns = self._wires.clock()
        records = await tail.batch(max_wait_s=_WAIT_S)
        if records and not await self.take(records):
            return False
        oldest_ms = min((record.timestamp_ms for record in records), default=None)
        self._complete_ns = asked_ns if oldest_ms is None else oldest_ms * 1_000_000
        if len(records) < BATCH // 10:
            tail.hold(range(EVENT_MARKS.partitions))
            await self._pause(self._wires.rest_s)
            tail.hold(())
        return True

    async def _begin_anew(self) -> None:
        """A topic that ends before its position was made anew: all of it is read. An event that was moved
        before is known, so too much read is no harm.
        """
        topic = self._kind.topic
        for partition, position in self._positions.items():
            if position:
                first, end = await self._wires.bus.bounds(topic, partition)
                if end < position:
                    _LOG.warning("%s[%d] ends at %d, before %d: read anew", topic, partition, end, position)
                    await self._move_back(partition, first)

    async def _move_back(self, partition: int, first: int) -> None:
        starts = {partition: self._positions[partition]}
        async with self._wires.turn, self._wires.database.platform() as connection:
            if await user_data_intake.held(connection, self._kind.topic, starts):
                await user_data_intake.advance(connection, self._kind.topic, {partition: first})
        self._positions[partition] = first

    async def _store(self, records: Sequence[LogRecord]) -> bool:
        """Write a batch in one transaction. A record that the database refuses for what is in it is found by
        halving, and kept away: it must not hold up the others.
        """
        try:
            return await self._write(records, self._read(records))
        except (DataError, IntegrityError):
            if len(records) == 1:
                return await self._write(records, _Read([], [(records[0], Refusal.UNSTORABLE)]))
        middle = len(records) // 2
        return await self._store(records[:middle]) and await self._store(records[middle:])

    def _read(self, records: Sequence[LogRecord]) -> _Read:
        rows, refused, now_ns = [], [], self._wires.clock()
        for record in records:
            if record.value is None:
                continue  # a tombstone ends what compaction keeps; the history stays
            found = read_record(record, self._kind, now_ns=now_ns)
            if isinstance(found, EventRow):
                rows.append(found)
            else:
                refused.append((record, found))
        return _Read(rows, refused)

    async def _write(self, records: Sequence[LogRecord], read: _Read) -> bool:
        ends = _ends(records)
        starts = {partition: self._positions[partition] for partition in ends}
        counts: Counter[str] = Counter()
        async with self._wires.turn:
            await self._make_months(read.rows)
            async with self._wires.database.platform() as connection:
                if await user_data_intake.held(connection, self._kind.topic, starts) != set(starts):
                    return False
                counts += await self._add(connection, read)
                await user_data_intake.advance(connection, self._kind.topic, ends)
        counts["missed"] += self._missed(records)
        self._positions |= ends
        self._count(counts)
        return True

    async def _add(self, connection: AsyncConnection, read: _Read) -> Counter[str]:
        """Write the events of tenants that still exist, and what is kept away."""
        gone = await user_data_intake.deleted(connection, {row.tenant_id for row in read.rows})
        staying = [row for row in read.rows if row.tenant_id not in gone]
        stored = await user_data_intake.add(connection, self.data_type, distinct(staying))
        now_ns = self._wires.clock()
        away = [kept_away(record, refusal, now_ns=now_ns) for record, refusal in read.refused]
        await user_data_intake.quarantine(connection, away)
        return Counter(
            {
                "stored": stored,
                "repeated": len(staying) - stored,
                "tenant_deleted": len(read.rows) - len(staying),
                **Counter(refusal.value for _, refusal in read.refused),
            }
        )

    async def _make_months(self, rows: Sequence[EventRow]) -> None:
        wanted = {Month(self.data_type, row.month) for row in rows}
        if missing := wanted - self._months:
            async with self._wires.database.platform() as connection:
                await user_data_months.make(connection, missing)
        self._months = wanted

    def _missed(self, records: Sequence[LogRecord]) -> int:
        """Offsets that the log had removed before they were read. Compaction removes what has a successor."""
        if self._kind.part is not None:
            return 0
        firsts: dict[int, int] = {}
        for record in records:
            firsts.setdefault(record.partition, record.offset)
        return sum(max(0, first - self._positions[partition]) for partition, first in firsts.items())

    def _count(self, counts: Counter[str]) -> None:
        for outcome, number in (+counts).items():
            self.moved[outcome] += number
            labels = {"data_type": self.data_type.value, "outcome": outcome}
            self._wires.meter.count("hub_user_data_total", labels, number)

    def _say_behind(self) -> None:
        if (behind_s := self.behind_s) is not None:
            self._wires.meter.gauge("hub_user_data_behind_s", {"data_type": self.data_type.value}, behind_s)

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds * (0.5 + self._wires.rng.random()))


def _first_line(error: Exception) -> str:
    """What is wrong, without the statement that SQLAlchemy adds."""
    return str(error).partition("\n")[0]


def _ends(records: Sequence[LogRecord]) -> dict[int, int]:
    """The offset behind the last record of each partition."""
    return {
        partition: max(record.offset for record in some) + 1
        for partition, some in groupby(records, key=lambda one: one.partition)
    }
