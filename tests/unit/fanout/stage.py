"""A stage for the fan-out's tests: a memory broker on virtual time, a claimed prediction log, and workers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final, TypeVar

import orjson

from deployments.fanout.config import WorkerConfig
from deployments.fanout.worker import FanoutWorker
from messaging.memory import MemoryBroadcast, MemoryBus, MemoryLog, MemoryMarket, Process
from messaging.ports import LogRecord, Record
from messaging.topics import CONTROL, PREDICTIONS, SIGNAL_STATE, SIGNALS, SUBSCRIPTIONS, partition_of
from models.events import CHECKPOINT_KEY, CLAIM_KEY, MARK_PREFIX
from models.halt import EVERYTHING, Halt, HaltScope, halt_key
from models.metrics import MemoryMeter
from models.prediction import Prediction, Skipped
from models.strategy import Strategy
from models.subscription import Subscription
from signals.encoding import encode
from tests.support.virtual_loop import run_virtual, until
from tests.unit.signals.records import NOW_NS, slot

T = TypeVar("T")
STRATEGY: Final = Strategy(name="alpha", version="1", symbols=("EURUSD",), bar_ms=10_000, horizon_ms=60_000)
SOURCE: Final = partition_of(b"EURUSD", PREDICTIONS.partitions)
PARTITIONS: Final = 2


class Stage:
    """Owns the broker; `user.signals` has two partitions, and every test's users live in one of them."""

    def __init__(self) -> None:
        self.log = MemoryLog(Random(1), clock=self.clock)
        self.log.faults.delay_s = (0.001, 0.002)
        self.market = MemoryMarket(Random(2))
        for topic in (PREDICTIONS, SUBSCRIPTIONS, SIGNALS, SIGNAL_STATE, CONTROL):
            partitions = topic.partitions if topic in (PREDICTIONS, CONTROL) else PARTITIONS
            self.log.add_topic(topic.name, partitions, topic.policy)
        self.land(PREDICTIONS.name, SOURCE, Record(CLAIM_KEY, b"{}"))
        self.tasks: list[asyncio.Task[Any]] = []

    @staticmethod
    def clock() -> int:
        return NOW_NS + int(asyncio.get_running_loop().time() * 1e9)

    def land(self, topic: str, partition: int, *records: Record) -> int:
        """Write to the log without a producer."""
        return self.log.partition(topic, partition).land(records, self.clock() // 1_000_000)

    def subscribe(self, one: Subscription) -> None:
        """Write a subscription as the gateway does."""
        self.land(SUBSCRIPTIONS.name, home(one.user_id), Record(one.key(), encode(one)))

    def unsubscribe(self, one: Subscription) -> None:
        """Write its tombstone."""
        self.land(SUBSCRIPTIONS.name, home(one.user_id), Record(one.key(), None))

    def halt(self, scope: HaltScope, halted: str = EVERYTHING) -> Halt:
        """Write a halt as the gateway does."""
        halt = Halt(scope=scope, id=halted, reason="runaway", by="operator", at_ns=self.clock())
        self.land(CONTROL.name, 0, Record(halt.key(), encode(halt)))
        return halt

    def resume(self, scope: HaltScope, halted: str = EVERYTHING) -> None:
        """Write its tombstone."""
        self.land(CONTROL.name, 0, Record(halt_key(scope, halted), None))

    def predict(self, owed: Prediction | Skipped, *, ttl_s: float = 5.0) -> int:
        """Write a prediction as of now, under the claim at offset 0."""
        now_ns = self.clock()
        update = {"generated_ns": now_ns, "expires_ns": now_ns + int(ttl_s * 1e9), "stages": {"tick": now_ns}}
        value = encode(owed.model_copy(update=update))
        return self.land(PREDICTIONS.name, SOURCE, Record(owed.slot.symbol.encode(), value))

    def worker(self, name: str, **timings: Any) -> Played:
        """A running worker in a process of its own."""
        return Played(self, name, WorkerConfig(name=name, **timings))

    def signals(self, user: str) -> list[dict[str, Any]]:
        """Every record of the user in the log, decoded."""
        return [body(r) for r in self.records(user) if r.key == user.encode()]

    def controls(self, user: str, key: bytes) -> list[dict[str, Any]]:
        """Control records of the user's partition."""
        return [body(r) for r in self.records(user) if r.key == key]

    def records(self, user: str) -> list[LogRecord]:
        return self.log.partition(SIGNALS.name, home(user)).records

    def checkpoints(self, user: str) -> list[dict[str, Any]]:
        """What was checkpointed of the user's partition."""
        return [body(r) for r in self._state(user) if r.key == CHECKPOINT_KEY]

    def marks(self, user: str) -> list[dict[str, Any]]:
        """The sequence marks of the user's partition."""
        return [body(r) for r in self._state(user) if r.key.startswith(MARK_PREFIX)]

    def _state(self, user: str) -> list[LogRecord]:
        return self.log.partition(SIGNAL_STATE.name, home(user)).records


class Played:
    """A worker on a stage."""

    def __init__(self, stage: Stage, name: str, config: WorkerConfig) -> None:
        self.process = Process(name)
        self.meter = MemoryMeter()
        self.worker = FanoutWorker(
            MemoryBus(stage.log, name, process=self.process),
            [STRATEGY],
            clock=stage.clock,
            rng=Random(name),
            meter=self.meter,
            config=config,
            broadcast=MemoryBroadcast(stage.market, self.process),
        )
        self.running = asyncio.create_task(self.worker.run())

    async def ready(self) -> Played:
        await until(lambda: self.worker.ready, within_s=30)
        return self


def play(story: Callable[[Stage], Awaitable[T]]) -> T:
    """Tell a story on virtual time."""

    async def told() -> T:
        return await story(Stage())

    return run_virtual(told())


def home(user: str) -> int:
    """The user's partition on this stage."""
    return partition_of(user.encode(), PARTITIONS)


def close(number: int) -> int:
    """Bar close of the stage's slot with this number."""
    return slot().bar_close_ms + number * 10_000


def body(record: LogRecord) -> dict[str, Any]:
    """The value as JSON."""
    decoded: dict[str, Any] = orjson.loads(record.value or b"{}")
    return decoded
