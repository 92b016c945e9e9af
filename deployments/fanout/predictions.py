"""What is owed: every worker reads all of `hub.predictions`, once, for all the partitions it owns.

The log keeps what has not expired for new owners to start from; an owner whose cursor lies further back gets
the rest from Kafka. Each owner has an `Inbox` of its own, so a slow partition holds up no other.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from random import Random
from typing import Final, NoReturn

from messaging.history import epochs_at
from messaging.ports import EventBus, LogRecord
from messaging.topics import PREDICTIONS
from models.errors import MessagingError
from models.prediction import Prediction, Skipped
from models.signal import Source
from models.strategy import TargetFractionPolicy
from signals.encoding import Body
from signals.reader import PredictionRules, Verdict

_IDLE_WAIT_S: Final = 1.0


class Entry:
    """A valid prediction, or a slot without one, at its place in the log; encoded at most once."""

    def __init__(self, record: LogRecord, owed: Prediction | Skipped, *, taken_ns: int) -> None:
        self.partition: Final = record.partition
        self.offset: Final = record.offset
        self.timestamp_ms: Final = record.timestamp_ms
        self.owed: Final = owed
        self._taken_ns = taken_ns
        self._body: Body | None = None

    def body(self, policy: TargetFractionPolicy, *, clock_error_ns: int) -> Body:
        """The signal's shared part, for the policy of the slot's strategy."""
        if self._body is None:
            self._body = Body(
                self.owed,
                source=Source(partition=self.partition, offset=self.offset, epoch=self.owed.epoch),
                policy=policy,
                stages={"predicted": self._taken_ns},
                clock_error_ns=clock_error_ns,
            )
        return self._body


class Inbox:
    """What one owner has still to settle, in log order per partition of `hub.predictions`.

    An entry stays at the head until it is `done`, so `cursor` never passes anything unsettled.
    """

    def __init__(self, cursor: Mapping[int, int], positions: Mapping[int, int]) -> None:
        self._from = dict(cursor)
        self._positions = positions
        self._waiting: deque[Entry] = deque()
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, entry: Entry) -> None:
        """Take an entry, unless it lies before the cursor this inbox began with."""
        if entry.offset >= self._from.get(entry.partition, 0):
            self._waiting.append(entry)
            self._arrived.set()

    def put_first(self, entries: Sequence[Entry]) -> None:
        """Put entries before all that arrived so far."""
        arrived, self._waiting = self._waiting, deque()
        for entry in (*entries, *arrived):
            self.put(entry)

    async def head(self, *, until_s: float) -> Entry | None:
        """The next entry to settle; None if there is none by then, on the loop's clock."""
        if not self._waiting:
            self._arrived.clear()
            try:
                async with asyncio.timeout_at(until_s):
                    await self._arrived.wait()
            except TimeoutError:
                return None
        return self._waiting[0]

    def waiting(self, limit: int) -> list[Entry]:
        """The next entries to settle, the head first."""
        return list(islice(self._waiting, limit))

    def done(self, count: int = 1) -> None:
        """The first entries are settled."""
        for _ in range(count):
            self._waiting.popleft()

    def cursor(self) -> dict[int, int]:
        """Per partition the offset before which everything is settled."""
        cursor = {p: max(self._from.get(p, 0), position) for p, position in self._positions.items()}
        for entry in self._waiting:
            cursor[entry.partition] = min(cursor[entry.partition], entry.offset)
        return cursor


class PredictionLog:
    """Follows `hub.predictions` and hands every valid record to every inbox.

    Owned by one task, `follow`. `open` and `close` are called by the owners' tasks on the same loop.
    """

    def __init__(
        self, bus: EventBus, *, clock: Callable[[], int], rng: Random, lookback_s: float, retry_s: float
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._rng = rng
        self._lookback_ns = int(lookback_s * 1e9)
        self._retry_s = retry_s
        self._rules: dict[int, PredictionRules] = {}
        self._positions: dict[int, int] = {}
        self._kept: dict[int, deque[Entry]] = {}
        self._kept_from: dict[int, int] = {}
        self._inboxes: dict[int, Inbox] = {}
        self._started = asyncio.Event()
        self.verdicts: Counter[Verdict] = Counter()

    @property
    def positions(self) -> Mapping[int, int]:
        """Per partition the next offset to read."""
        return self._positions

    async def follow(self) -> NoReturn:
        """Read on, through every outage of the broker."""
        while True:
            try:
                if not self._started.is_set():
                    await self._start()
                await self._follow()
            except MessagingError:
                await asyncio.sleep(self._retry_s * (0.5 + self._rng.random()))

    async def open(self, cursor: Mapping[int, int]) -> Inbox:
        """An inbox of everything at or after the cursor, up to now and from now on."""
        await self._started.wait()
        inbox = Inbox(cursor, self._positions)
        kept = [entry for entries in self._kept.values() for entry in entries]
        missing = [(p, cursor.get(p, 0), start) for p, start in self._kept_from.items()]
        self._inboxes[id(inbox)] = inbox
        try:
            older = [entry for p, start, stop in missing for entry in await self._read(p, start, stop)]
        except BaseException:
            self.close(inbox)
            raise
        inbox.put_first([*older, *kept])
        return inbox

    def close(self, inbox: Inbox) -> None:
        """Put nothing more into it."""
        self._inboxes.pop(id(inbox), None)

    async def _start(self) -> None:
        """Begin before anything that may still be unexpired, knowing the claims before that."""
        since_ms = (self._clock() - self._lookback_ns) // 1_000_000
        for partition in range(PREDICTIONS.partitions):
            start = await self._bus.offset_at(PREDICTIONS.name, partition, since_ms)
            epochs = await epochs_at(self._bus, PREDICTIONS.name, partition, start)
            self._rules[partition] = PredictionRules(epochs)
            self._kept[partition] = deque()
            self._kept_from[partition] = self._positions[partition] = start
        self._started.set()

    async def _follow(self) -> None:
        tail = await self._bus.tail(PREDICTIONS.name, self._positions)
        try:
            while True:
                self._take(await tail.batch(max_wait_s=_IDLE_WAIT_S))
                for partition in self._positions:
                    self._positions[partition] = tail.position(partition)
        finally:
            await tail.close()

    def _take(self, records: Iterable[LogRecord]) -> None:
        for record in records:
            entry = self._judged(record, self._rules[record.partition])
            if entry:
                self._kept[record.partition].append(entry)
                for inbox in self._inboxes.values():
                    inbox.put(entry)
        self._forget()

    def _judged(self, record: LogRecord, rules: PredictionRules) -> Entry | None:
        reading = rules.take(record.offset, record.key, record.value)
        self.verdicts[reading.verdict] += 1
        if reading.verdict is not Verdict.ACCEPTED or reading.owed is None:
            return None
        return Entry(record, reading.owed, taken_ns=self._clock())

    def _forget(self) -> None:
        """Keep nothing for new owners that expired longer ago than the lookback."""
        before_ns = self._clock() - self._lookback_ns
        for partition, kept in self._kept.items():
            while kept and kept[0].owed.expires_ns < before_ns:
                self._kept_from[partition] = kept.popleft().offset + 1

    async def _read(self, partition: int, start: int, stop: int) -> list[Entry]:
        """The valid records in [start, stop), judged by rules of their own."""
        first, _ = await self._bus.bounds(PREDICTIONS.name, partition) if start < stop else (stop, stop)
        start = max(start, first)
        if start >= stop:
            return []
        rules = PredictionRules(await epochs_at(self._bus, PREDICTIONS.name, partition, start))
        return [
            entry
            async for records in self._bus.read(PREDICTIONS.name, partition, start, stop)
            for record in records
            if (entry := self._judged(record, rules))
        ]
