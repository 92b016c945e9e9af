"""How long users are without signals when a worker is added, stopped, killed or frozen.

Two workers share 240 users; a prediction is due ten times a second. A third worker joins, is stopped
(SIGTERM), one of the others is killed (-9) and replaced, and one is frozen for longer than its session. The
silence of an event is the longest pause of any partition's users from then on, in Kafka's own times, less the
tenth of a second that lies between predictions anyway. The peers do the same work the plain way: a group
that consumes, projects, produces and commits, with aiokafka's session settings and with ours. What they lose
or write twice stands beside it; of ours, what no reader would accept does not count as written.

All figures are seconds, so a driver that is held up for milliseconds spoils none.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Final, NamedTuple

import orjson

from benchmarks import crowd
from benchmarks.broker import broker
from benchmarks.child import Child, child
from benchmarks.handover_worker import SESSIONS_MS, source, target
from benchmarks.harness import Benchmark, Report, middle
from deployments.front.subscriptions import SubscriptionWriter
from messaging.config import KafkaConfig
from messaging.connect import open_bus
from messaging.ports import EventBus, LogRecord, Producer, Record
from messaging.topics import PREDICTIONS, SIGNALS, create_topics, partition_of
from models.events import CLAIM_KEY, UNDELIVERED_KEY, Claim
from signals.encoding import encode

REPEATS: Final = int(os.environ.get("HANDOVER_REPEATS", "3"))
USERS: Final = 240
PERIOD_S: Final = 0.1
OUR_SESSION_S: Final = 6.0
SETTLE_S: Final = 4.0
"""How long after an event, or after the session that has to end first, everything is calm again."""
EVENTS: Final = {
    "added": "a worker joins",
    "stopped": "a worker is asked to end",
    "killed": "a worker is killed",
    "frozen": "a worker is frozen for longer than its session",
}
_APPEND_S: Final = 10.0


class Window(NamedTuple):
    """An event and the wall time in which its silence lies, in milliseconds."""

    event: str
    from_ms: int
    to_ms: int


@dataclass
class Written:
    """What a kind of group left in the log: per partition the first time of each slot, in milliseconds."""

    first_ms: dict[int, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    excused: set[tuple[int, int]] = field(default_factory=set)
    doubled: int = 0

    def silence_s(self, window: Window) -> float:
        """The longest pause of any partition that began in the window, or with the last signal before it,
        less the period. The last signal of a window is the next one's, so a pause counts for one event alone.
        """
        before_ms = 1.5 * PERIOD_S * 1000
        pauses = [
            later - one
            for times in self.first_ms.values()
            for one, later in pairwise(sorted(times.values()))
            if window.from_ms - before_ms <= one < window.to_ms - before_ms
        ]
        return max(0.0, max(pauses, default=0) / 1000 - PERIOD_S)

    def lost(self, slots: int) -> int:
        """How many slots are missing, counted once for each partition; some are written and excused: late."""
        written = {(partition, slot) for partition, times in self.first_ms.items() for slot in times}
        return slots * SIGNALS.partitions - len(written | self.excused)


class Group:
    """The workers of a kind, and predictions for them."""

    def __init__(self, kind: str, kafka: str, bus: EventBus, stack: AsyncExitStack) -> None:
        self.kind = kind
        self.windows: list[Window] = []
        self.slots = 0
        self._kafka = kafka
        self._bus = bus
        self._stack = stack
        self._rng = Random(kind)
        self._born = 0
        self._session_s = OUR_SESSION_S if kind == "ours" else SESSIONS_MS[kind][0] / 1000

    async def worker(self) -> Child:
        """One more, ready."""
        self._born += 1
        arguments = [self.kind, self._kafka, f"{self.kind}-{self._born}", str(USERS)]
        return await self._stack.enter_async_context(child("benchmarks.handover_worker", arguments))

    async def course(self) -> None:
        """All events, over and over."""
        stays, other = await self.worker(), await self.worker()
        await asyncio.sleep(SETTLE_S)
        for _ in range(REPEATS):
            async with self._window("added", SETTLE_S):
                third = await self.worker()
            async with self._window("stopped", SETTLE_S):
                third.send(signal.SIGTERM)
            async with self._window("killed", self._session_s + SETTLE_S):
                other.send(signal.SIGKILL)
            other = await self.worker()
            await asyncio.sleep(SETTLE_S)
            async with self._window("frozen", self._session_s + SETTLE_S):
                stays.send(signal.SIGSTOP)
            stays.send(signal.SIGCONT)
            await asyncio.sleep(SETTLE_S)

    async def predict(self) -> None:
        """A prediction every period, whatever becomes of the earlier ones, until cancelled."""
        producer = await self._bus.producer(f"driver-{self.kind}")
        epoch = await self._claimed(producer) if self.kind == "ours" else -1
        began = time.monotonic()
        while True:
            await asyncio.sleep(began + self.slots * PERIOD_S - time.monotonic())
            self.slots += 1
            owed = crowd.prediction(USERS, self.slots, epoch=epoch, tick_ns=time.time_ns(), rng=self._rng)
            record = Record(crowd.SYMBOL.encode(), encode(owed))
            await asyncio.gather(*(self._append(producer, place, record) for place in self._places()))

    async def written(self) -> Written:
        """What is in the log now."""
        found = Written()
        for partition in range(SIGNALS.partitions):
            name = target(self.kind)
            first, end = await self._bus.bounds(name, partition)
            batches = self._bus.read(name, partition, first, end)
            records = [record async for batch in batches for record in batch]
            _count(found, partition, _valid(records) if self.kind == "ours" else records)
        return found

    @asynccontextmanager
    async def _window(self, event: str, seconds: float) -> AsyncIterator[None]:
        """From the block's begin to so many seconds after its end."""
        from_ms = _now_ms()
        yield
        await asyncio.sleep(seconds)
        self.windows.append(Window(event, from_ms, _now_ms()))

    async def _claimed(self, producer: Producer) -> int:
        claim = Claim(owner="driver", nonce="0" * 32, claimed_ns=time.time_ns())
        return await producer.append(
            PREDICTIONS.name, _home(), [Record(CLAIM_KEY, encode(claim))], timeout_s=_APPEND_S
        )

    def _places(self) -> Iterable[tuple[str, int]]:
        """Where a prediction is written: a plain group needs it once in each partition."""
        if self.kind == "ours":
            return [(PREDICTIONS.name, _home())]
        return [(source(self.kind), partition) for partition in range(SIGNALS.partitions)]

    @staticmethod
    async def _append(producer: Producer, place: tuple[str, int], record: Record) -> None:
        await producer.append(*place, [record], timeout_s=_APPEND_S)


def run(report: Report) -> None:
    """Ours and the plain groups one after the other, on one broker."""
    with broker() as (kafka, _):
        asyncio.run(_measure(report, kafka))


async def _measure(report: Report, kafka: str) -> None:
    bus = await open_bus(KafkaConfig(bootstrap=kafka), client_id="benchmark")
    try:
        await _prepare(bus)
        for kind, prefix in (("ours", ""), ("defaults", "plain_"), ("same", "plain_same_")):
            print(f"  {kind}: {REPEATS} times {', '.join(EVENTS)}", flush=True)
            async with AsyncExitStack() as stack:
                group = Group(kind, kafka, bus, stack)
                predicting = asyncio.create_task(group.predict())
                course = asyncio.create_task(group.course())
                await asyncio.wait({predicting, course}, return_when=asyncio.FIRST_COMPLETED)
                predicting.cancel()
                await asyncio.gather(predicting, return_exceptions=True)
                await course
                await asyncio.sleep(SETTLE_S)
            _report(report, prefix, group, await group.written())
    finally:
        await bus.close()


def _report(report: Report, prefix: str, group: Group, written: Written) -> None:
    for event, silences in silences_s(group.windows, written).items():
        report.add(f"{prefix}{event}_s", middle(silences), f"s of silence, {EVENTS[event]}, median")
        report.add(f"{prefix}{event}_worst_s", max(silences), f"s, the worst of {len(silences)}")
    report.add(f"{prefix}lost", written.lost(group.slots), "predictions that a partition's users never got")
    report.add(f"{prefix}doubled", written.doubled, "signals that readers would take twice")


def silences_s(windows: Sequence[Window], written: Written) -> Mapping[str, list[float]]:
    """The silences of each event, in the order they happened."""
    found: dict[str, list[float]] = defaultdict(list)
    for window in windows:
        found[window.event].append(written.silence_s(window))
    return found


def _count(found: Written, partition: int, records: Iterable[LogRecord]) -> None:
    """Note when each slot came first, and what came again to the same user."""
    seen: set[tuple[bytes, int]] = set()
    for record in records:
        body = orjson.loads(record.value or b"{}")
        if record.key == UNDELIVERED_KEY:
            found.excused.add((partition, body["bar_close_ms"]))
        elif not record.key.startswith(b"~"):
            close_ms = body.get("bar_close_ms") or body["slot"]["bar_close_ms"]
            found.doubled += (record.key, close_ms) in seen
            seen.add((record.key, close_ms))
            found.first_ms[partition].setdefault(close_ms, record.timestamp_ms)


def _valid(records: Iterable[LogRecord]) -> Iterable[LogRecord]:
    """What readers accept: records of the latest claim before them."""
    claim = None
    for record in records:
        if record.key == CLAIM_KEY:
            claim = record.offset
        elif orjson.loads(record.value or b"{}").get("epoch") == claim:
            yield record


async def _prepare(bus: EventBus) -> None:
    await create_topics(bus, 1)
    for kind in SESSIONS_MS:
        for name in (source(kind), target(kind)):
            await bus.create_topic(name, partitions=SIGNALS.partitions, policy=SIGNALS.policy, replication=1)
    writer = SubscriptionWriter(bus)
    await writer.put_many(crowd.subscriptions(USERS))
    await writer.close()


def _home() -> int:
    return partition_of(crowd.SYMBOL.encode(), PREDICTIONS.partitions)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


BENCHMARK: Final = Benchmark(
    name="handover",
    question="For how long are users without signals when a worker is added, stopped, killed or frozen?",
    run=run,
)
