"""One prediction to 100 to 100,000 users over 24 partitions on Apache Kafka, beside four ways to write ready
bytes to 10,000.

Four processes: the broker, the shipped `FanoutWorker`, the peers, and this driver, which appends predictions
on a fixed schedule, whatever becomes of the earlier ones. The clock of a slot starts at its place in that
schedule, before the driver has even encoded the prediction, and stops when the last of its partitions'
batches is acknowledged: appending the prediction, reading it, projecting it for every user, rendering, and
writing are all inside. A peer's clock starts with the finished bytes of the same signals in its memory.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Final, NamedTuple, Self

import orjson

from benchmarks import crowd
from benchmarks.broker import broker
from benchmarks.child import Child, child
from benchmarks.fanout_peers import PARTITIONS, TOPIC, installed
from benchmarks.harness import Benchmark, Report, VoidRunError, middle, percentile, spread
from deployments.front.subscriptions import SubscriptionWriter
from messaging.config import KafkaConfig
from messaging.connect import open_bus
from messaging.ports import EventBus, Producer, Record
from messaging.topics import PREDICTIONS, SIGNALS, create_topics, partition_of
from models.events import CLAIM_KEY, Claim
from signals.encoding import encode


class Crowd(NamedTuple):
    """Seconds from one slot to the next, more than a slot takes, so that none waits; slots in a block; and in
    which blocks, counted from 0, there are any.
    """

    interval_s: float
    slots: int
    blocks: range


BLOCKS: Final = 12
CROWDS: Final = {
    100: Crowd(0.1, 10, range(BLOCKS)),
    1_000: Crowd(0.2, 10, range(BLOCKS)),
    10_000: Crowd(0.6, 10, range(BLOCKS)),
    100_000: Crowd(6.0, 2, range(0, BLOCKS, 3)),
}
PEERS_USERS: Final = 10_000
WAYS: Final = ("send", "send", "send_batch", "librdkafka", "faststream")
_MODULES: Final = {"librdkafka": "confluent_kafka", "faststream": "faststream.kafka"}
"""Of the peers, in the order they take their turns; `send` twice, for its spread against itself."""
TURNS: Final = 2
_APPEND_S: Final = 10.0
_DELIVER_S: Final = 30.0
_POLL_S: Final = 0.2
_METERED_S: Final = 0.8
"""By when the worker has handed its times to its meter."""


class Driver:
    """Appends predictions as the owner of their partition, and collects what the worker measured."""

    def __init__(self, producer: Producer, worker: Child, *, epoch: int) -> None:
        self._producer = producer
        self._worker = worker
        self._epoch = epoch
        self._rng = Random(1)
        self._slots = dict.fromkeys(CROWDS, 0)
        self._signals = 0
        self.acked_ms: list[float] = []

    @classmethod
    async def claimed(cls, bus: EventBus, worker: Child) -> Self:
        """Claim the partition of the symbol: predictions without a claim before them count for nothing."""
        producer = await bus.producer("driver")
        claim = Claim(owner="driver", nonce="0" * 32, claimed_ns=time.time_ns())
        record = Record(CLAIM_KEY, encode(claim))
        epoch = await producer.append(PREDICTIONS.name, _home(), [record], timeout_s=_APPEND_S)
        return cls(producer, worker, epoch=epoch)

    async def block(self, users: int) -> list[float]:
        """Slots on a fixed schedule; per slot the milliseconds until its last partition was acknowledged."""
        interval_ns, slots = int(CROWDS[users].interval_s * 1e9), CROWDS[users].slots
        first_ns = time.time_ns() + interval_ns
        for number in range(slots):
            tick_ns = first_ns + number * interval_ns
            await asyncio.sleep((tick_ns - time.time_ns()) / 1e9)
            await self._append(users, tick_ns)
        times = await self._delivered(slots * users)
        return last_of_each(times, len(times) // slots)

    async def _append(self, users: int, tick_ns: int) -> None:
        self._slots[users] += 1
        owed = crowd.prediction(users, self._slots[users], epoch=self._epoch, tick_ns=tick_ns, rng=self._rng)
        record = Record(crowd.SYMBOL.encode(), encode(owed))
        await self._producer.append(PREDICTIONS.name, _home(), [record], timeout_s=_APPEND_S)
        self.acked_ms.append((time.time_ns() - tick_ns) / 1e6)

    async def _delivered(self, wanted: int) -> list[float]:
        """The time of every batch, once so many more signals are acknowledged."""
        times: list[float] = []
        self._signals += wanted
        give_up = time.monotonic() + _DELIVER_S
        while True:
            await asyncio.sleep(_POLL_S)
            answer = await self._worker.ask("take")
            times += answer["delivered_ms"]
            counters = answer["counters"]
            if counters.get("signals", 0) >= self._signals:
                await asyncio.sleep(_METERED_S)
                times += (await self._worker.ask("take"))["delivered_ms"]
                return times
            if time.monotonic() > give_up:
                raise VoidRunError(f"{self._signals} signals are due, the worker counts {counters}")


def run(report: Report) -> None:
    """Blocks of ours and of the peers in turn, so that whatever disturbs the machine disturbs them alike."""
    with broker(apart=True) as (kafka, scratch):
        asyncio.run(_measure(report, kafka, scratch))


async def _measure(report: Report, kafka: str, scratch: Path) -> None:
    async with AsyncExitStack() as stack:
        bus = await open_bus(KafkaConfig(bootstrap=kafka), client_id="benchmark")
        stack.push_async_callback(bus.close)
        await _prepare(bus)
        worker = await stack.enter_async_context(
            child("benchmarks.fanout_worker", [kafka, *map(str, CROWDS)])
        )
        driver = await Driver.claimed(bus, worker)
        ends = await _ends(bus)
        for users in CROWDS:  # warms up; the last block's signals are the peers' bytes
            await driver.block(users)
        records = scratch / "records.json"
        records.write_bytes(orjson.dumps(await _last_signals(bus, ends, PEERS_USERS)))
        peers = await stack.enter_async_context(child("benchmarks.fanout_peers", [kafka, str(records)]))
        await _turns(report, driver, peers)


async def _turns(report: Report, driver: Driver, peers: Child) -> None:
    ours: dict[int, list[float]] = {users: [] for users in CROWDS}
    ways = _ways(report)
    theirs: list[list[float]] = [[] for _ in ways]
    for way in ways:
        await peers.ask(way)  # warms up
    driver.acked_ms.clear()
    watching = asyncio.create_task(report.validity.watch_loop())
    for number in range(BLOCKS):
        for users, one in CROWDS.items():
            if number in one.blocks:
                ours[users] += await driver.block(users)
        for place, way in enumerate(ways):
            theirs[place] += [(await peers.ask(way))["ms"] for _ in range(TURNS)]
    watching.cancel()
    _ours(report, ours, driver.acked_ms)
    _peers(report, ways, theirs)


def _ours(report: Report, ours: dict[int, list[float]], acked_ms: Sequence[float]) -> None:
    for users, times in ours.items():
        report.add(f"p50_ms_{users}", middle(times), f"ms, until {users} users' signals are acknowledged")
        report.add(f"p99_ms_{users}", percentile(times, 99), f"ms, the same at p99 of {len(times)} slots")
    per_user = {users: middle(times) / users * 1e3 for users, times in ours.items()}
    for users, cost_us in per_user.items():
        report.add(f"us_per_user_{users}", cost_us, "us, the median over the users")
    report.add("growth", per_user[100_000] / per_user[1_000], "x, us per user of 100,000 over that of 1,000")
    report.add("prediction_p50_ms", middle(acked_ms), "ms of it, until the prediction is acknowledged")


def _ways(report: Report) -> tuple[str, ...]:
    """The peers that are installed."""
    missing = [way for way, module in _MODULES.items() if not installed(module)]
    for way in missing:
        report.missing(way, "Install it with `make env-dev`; its figures are absent.")
    return tuple(way for way in WAYS if way not in missing)


_SAYS: Final = {
    "send": "ms, aiokafka `send` per record",
    "send_batch": "ms, aiokafka `send_batch`, one batch per partition",
    "librdkafka": "ms, librdkafka `produce` and `flush`",
    "faststream": "ms, FastStream `publish` per record",
}
_FIGURES: Final = {"send": "aiokafka", "send_batch": "batch"}
"""How the figures of a way are named, if not by it."""


def _peers(report: Report, ways: Sequence[str], theirs: Sequence[Sequence[float]]) -> None:
    ours = report.figures[f"p50_ms_{PEERS_USERS}"]
    first, again = (times for way, times in zip(ways, theirs, strict=True) if way == "send")
    report.add("aa_spread", spread(first, again), "share, aiokafka `send` against itself")
    for way, times in dict(zip(reversed(ways), reversed(theirs), strict=True)).items():
        name = _FIGURES.get(way, way)
        report.add(f"{name}_p50_ms_{PEERS_USERS}", middle(times), f"{_SAYS[way]}, {len(times)} times")
        report.add(f"{name}_ratio", middle(times) / ours, f"x, {way} over ours, medians")


def last_of_each(times_ms: Sequence[float], parts: int) -> list[float]:
    """Per slot the largest of its `parts` times. Slots are settled one after the other; if one took longer
    than the schedule leaves it, some of its times may change places with its successor's.
    """
    return [max(times_ms[start : start + parts]) for start in range(0, len(times_ms), parts)]


async def _prepare(bus: EventBus) -> None:
    await create_topics(bus, 1)
    await bus.create_topic(TOPIC, partitions=PARTITIONS, policy=SIGNALS.policy, replication=1)
    writer = SubscriptionWriter(bus)
    for users in CROWDS:
        await writer.put_many(crowd.subscriptions(users))
    await writer.close()


async def _ends(bus: EventBus) -> list[int]:
    return [(await bus.bounds(SIGNALS.name, partition))[1] for partition in range(SIGNALS.partitions)]


async def _last_signals(bus: EventBus, starts: Sequence[int], users: int) -> list[tuple[str, str]]:
    """The newest signal of each user of a crowd, as key and value."""
    newest: dict[bytes, bytes] = {}
    wanted = f'"strategy":"{crowd.strategy_of(users).ref}"'.encode()
    for partition, (start, end) in enumerate(zip(starts, await _ends(bus), strict=True)):
        async for records in bus.read(SIGNALS.name, partition, start, end):
            newest.update({one.key: one.value for one in records if one.value and wanted in one.value})
    if len(newest) != users:
        raise VoidRunError(f"{len(newest)} of {users} users had a signal")
    return [(key.decode(), value.decode()) for key, value in newest.items()]


def _home() -> int:
    return partition_of(crowd.SYMBOL.encode(), PREDICTIONS.partitions)


BENCHMARK: Final = Benchmark(
    name="fanout",
    question="How long from a prediction until 100,000 users' signals are in Kafka, projection included?",
    run=run,
)
