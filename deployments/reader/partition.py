"""One partition of `user.signals` as a service reads it: judged in order, acted on, settled with its effects.

Nothing is settled before its effects are in the store, and no effect is there without its place: so whoever
goes on from the store, after a crash or beside a reader that lives on, does each thing once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from deployments.reader.config import ReaderConfig, Start
from deployments.reader.dead_letters import DeadLetters
from deployments.reader.fold import POISON, Judged, PartitionFold
from deployments.reader.health import ReaderHealth
from deployments.reader.lanes import Decision, Lanes
from deployments.reader.ports import Effect, EffectStore, Gap, GapKind, Service, Settled
from messaging.claims import EpochFilter
from messaging.history import epochs_at
from messaging.ports import EventBus, LogRecord
from messaging.topics import SIGNALS
from models.errors import StoreUnavailable, TopicMismatch


@dataclass(frozen=True, slots=True)
class Tools:
    """What all partitions of a reader share."""

    bus: EventBus
    store: EffectStore
    letters: DeadLetters
    decision: Decision
    health: ReaderHealth
    config: ReaderConfig
    service: Service


class PartitionReader:
    """Owned by the one task in `run`; the follower of the log puts records in and looks at `full`.

    `next_offset` is where that one goes on: behind the last record put.
    """

    def __init__(self, partition: int, fold: PartitionFold, tools: Tools, *, after: int | None) -> None:
        self.partition = partition
        self.next_offset = fold.position
        self._fold = fold
        self._after = after
        self._tools = tools
        self._waiting: deque[LogRecord] = deque()
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        act = tools.service.act
        self._lanes = Lanes(act, tools.decision, tools.config) if act else None

    @classmethod
    async def opened(cls, partition: int, tools: Tools) -> PartitionReader:
        """Go on from what the store has settled, knowing the claims before; else from the configured start.

        TopicMismatch if the store has settled more than the log ever had: they do not belong together.
        """
        settled = await tools.store.load(partition)
        first, end = await tools.bus.bounds(SIGNALS.name, partition)
        if settled is None:
            position = first if tools.config.start is Start.EARLIEST else end
            epochs = await epochs_at(tools.bus, SIGNALS.name, partition, position)
        elif settled.position <= end:
            position, epochs = settled.position, EpochFilter(settled.claims)
        else:
            raise TopicMismatch(
                f"the store has settled {SIGNALS.name}[{partition}] up to {settled.position}, but the log"
                f" ends at {end}: it is of another cluster, or the topic was made anew"
            )
        fold = PartitionFold(
            position, epochs, settled, wanted=tools.service.wants, partitions=tools.config.partitions
        )
        return cls(partition, fold, tools, after=settled.position if settled else None)

    @property
    def full(self) -> bool:
        """Whether enough waits here; the partition is held at the broker until less does."""
        return len(self._waiting) >= self._tools.config.waiting

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, record: LogRecord) -> None:
        """Take the next record of the log."""
        self._waiting.append(record)
        self.next_offset = max(self.next_offset, record.offset + 1)
        self._arrived.set()

    async def run(self) -> NoReturn:
        """Settle what is put in, in order. Raises StaleWriter if another reader settled this partition."""
        while True:
            while not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            self._idle.clear()
            try:
                await self._settle(self._chunk())
            finally:
                self._idle.set()

    async def idle(self, *, timeout_s: float) -> None:
        """Wait for the end of the chunk that is being settled, and begin no other."""
        self._waiting.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()

    def _chunk(self) -> list[LogRecord]:
        size = min(len(self._waiting), self._tools.config.chunk)
        return [self._waiting.popleft() for _ in range(size)]

    async def _settle(self, records: Sequence[LogRecord]) -> None:
        judged = [one for record in records for one in await self._judge(record)]
        for poison in (one for one in judged if one.verdict in POISON):
            await self._tools.letters.put(poison)
        due = [one for one in judged if one.signal is not None]
        self._measure(due)
        done = await self._lanes.run(due) if self._lanes else None
        await self._store(due, done, self._fold.settled())

    async def _judge(self, record: LogRecord) -> list[Judged]:
        """The verdict on a record, after those on what the consumer skipped before it."""
        if record.offset < self._fold.position:
            return []
        skipped = await self._read_back(record.offset) if record.offset > self._fold.position else []
        return [self._take(one) for one in (*skipped, record)]

    def _take(self, record: LogRecord) -> Judged:
        judged = self._fold.take(record, self._tools.decision.clock())
        self._tools.health.verdicts[judged.verdict] += 1
        if judged.missed and judged.signal:
            number = judged.signal.sequence
            user = judged.signal.user_id
            self._gap(GapKind.NUMBERS, number - judged.missed, number, user_id=user)
        return judged

    async def _read_back(self, stop: int) -> list[LogRecord]:
        """What the log still has of the offsets between the last known place and `stop`."""
        start = self._fold.position
        first, _ = await self._tools.bus.bounds(SIGNALS.name, self.partition)
        if start < first:
            self._gap(GapKind.REMOVED, start, min(first, stop))
        begin = max(start, first)
        if begin >= stop:
            return []
        found = [
            record
            async for records in self._tools.bus.read(SIGNALS.name, self.partition, begin, stop)
            for record in records
        ]
        self._gap(GapKind.FILLED if found else GapKind.REMOVED, begin, stop)
        return found

    async def _store(self, due: Sequence[Judged], done: list[Effect] | None, settled: Settled) -> None:
        """Put it down. What only the store is to do is decided anew each time: it may expire meanwhile."""
        while True:
            effects = done if done is not None else list(self._decided(due))
            try:
                await self._tools.store.apply(self.partition, effects, settled, after=self._after)
            except StoreUnavailable:
                await asyncio.sleep(self._tools.config.retry_s)
                continue
            self._after = settled.position
            for effect in effects:
                self._tools.health.outcomes[effect.outcome] += 1
            return

    def _decided(self, due: Iterable[Judged]) -> Iterable[Effect]:
        for one in due:
            if one.signal is not None:
                yield self._tools.decision.now(one.signal, one.record.offset)

    def _measure(self, due: Sequence[Judged]) -> None:
        now_ns = self._tools.decision.clock()
        left_ns = [one.signal.expires_ns - now_ns for one in due if one.signal]
        if left_ns:
            self._tools.health.time_left_s = min(left_ns) / 1e9

    def _gap(self, kind: GapKind, start: int, stop: int, *, user_id: str | None = None) -> None:
        self._tools.health.gaps[kind] += 1
        self._tools.service.on_gap(Gap(kind, self.partition, start, stop, user_id))
