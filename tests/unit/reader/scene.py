"""A log with made-up owners on virtual time, and readers that run on it in processes of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson
import pytest

from deployments.reader import Act, EffectStore, Gap, MemoryEffects, ReaderConfig, Service, SignalReader
from messaging.memory import MemoryBus, MemoryLog, Process
from messaging.memory.bus import MemoryTail
from messaging.ports import LogRecord, Record
from messaging.topics import SIGNALS, SIGNALS_DLQ, partition_of
from models.errors import StoreUnavailable
from models.events import BEAT_KEY, CLAIM_KEY, Beat
from signals.encoding import encode
from tests.support.virtual_loop import run_virtual
from tests.unit.signals.records import BAR_MS, CLOSE_MS, NOW_NS, TTL_NS, signal_bytes

USER = "user-1"
HOME = partition_of(USER.encode(), SIGNALS.partitions)
NEIGHBOURS = [
    name
    for name in map("user-{}".format, range(2, 400))
    if partition_of(name.encode(), SIGNALS.partitions) == HOME
]
"""Other users of the same partition."""
AWAY = next(
    name
    for name in map("user-{}".format, range(2, 99))
    if partition_of(name.encode(), SIGNALS.partitions) != HOME
)


def clock() -> int:
    """Wall time that moves with the virtual loop."""
    return NOW_NS + int(asyncio.get_running_loop().time() * 1e9)


@dataclass
class Reader:
    """A running reader, its process and what it did."""

    reader: SignalReader
    process: Process
    task: asyncio.Task[None]
    gaps: list[Gap]


@dataclass
class Scene:
    """One log and one store, as all readers of a service share them."""

    log: MemoryLog = field(default_factory=lambda: MemoryLog(Random(1), clock=clock))
    store: EffectStore = field(default_factory=MemoryEffects)
    sequences: dict[str, int] = field(default_factory=dict)
    epoch: int = -1

    def __post_init__(self) -> None:
        for topic in (SIGNALS, SIGNALS_DLQ):
            self.log.add_topic(topic.name, topic.partitions, topic.policy)

    # What owners write

    def claim(self, partition: int = HOME) -> int:
        """A new owner; its epoch."""
        self.epoch = self.land(CLAIM_KEY, b"{}", partition=partition)
        return self.epoch

    def signal(self, user: str = USER, *, slot: int = 0, **changes: object) -> int:
        """The user's next signal, of the slot-th bar close; its offset."""
        self.sequences[user] = self.sequences.get(user, 0) + 1
        raw = self.raw(user, slot=slot, **{"sequence": self.sequences[user], **changes})
        return self.land(user.encode(), raw, partition=partition_of(user.encode(), SIGNALS.partitions))

    def raw(self, user: str = USER, *, slot: int = 0, **changes: object) -> bytes:
        """A signal's bytes, generated now under the present claim."""
        given = {"epoch": self.epoch, **changes}
        made = signal_bytes(user_id=user, close_ms=CLOSE_MS + slot * BAR_MS, **given)  # type: ignore[arg-type]
        times = {"generated_ns": clock(), "expires_ns": clock() + TTL_NS}
        return orjson.dumps({**orjson.loads(made), **times})

    def beat(self) -> None:
        """The owner says that it lives."""
        self.land(BEAT_KEY, encode(Beat(epoch=self.epoch, cursor={}, now_ns=clock())))

    def land(self, key: bytes, value: bytes | None, *, partition: int = HOME) -> int:
        part = self.log.partition(SIGNALS.name, partition)
        return part.land([Record(key, value)], clock() // 1_000_000)

    # Who reads

    @asynccontextmanager
    async def reader(
        self,
        *,
        name: str = "desk",
        partitions: Collection[int] | None = (HOME,),
        users: Collection[str] | None = None,
        act: Act | None = None,
        store: EffectStore | None = None,
        **config: object,
    ) -> AsyncIterator[Reader]:
        """A reader that runs until the block ends; cancelled then, as a service that is stopped."""
        process, gaps = Process(name), list[Gap]()
        reader = SignalReader(
            MemoryBus(self.log, name, process=process),
            store or self.store,
            Service(name, users=users, act=act, on_gap=gaps.append),
            clock=clock,
            rng=Random(name),
            config=ReaderConfig.model_validate(config),
        )
        task: asyncio.Task[None] = asyncio.create_task(reader.run(partitions))
        try:
            yield Reader(reader, process, task, gaps)
        finally:
            task.cancel()
            await asyncio.wait({task})

    @property
    def done(self) -> list[tuple[str, int, str]]:
        """User, sequence and outcome of every effect in the store."""
        assert isinstance(self.store, MemoryEffects)
        return [(one.signal.user_id, one.signal.sequence, one.outcome.value) for _, one in self.store.effects]

    @property
    def letters(self) -> list[LogRecord]:
        """The dead letters."""
        return [
            record
            for partition in range(SIGNALS_DLQ.partitions)
            for record in self.log.partition(SIGNALS_DLQ.name, partition).records
        ]


@contextmanager
def skipping(offsets: Collection[int]) -> Iterator[None]:
    """While this lasts, consumers fail to return these records the first time that they should."""
    batch, pending = MemoryTail.batch, set(offsets)

    async def skip(tail: MemoryTail, *, max_wait_s: float) -> list[LogRecord]:
        records = await batch(tail, max_wait_s=max_wait_s)
        dropped = {record.offset for record in records} & pending
        pending.difference_update(dropped)
        return [record for record in records if record.offset not in dropped]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryTail, "batch", skip)
        yield


@contextmanager
def repeating() -> Iterator[None]:
    """While this lasts, consumers return every batch together with the one before it."""
    batch, before = MemoryTail.batch, list[LogRecord]()

    async def repeat(tail: MemoryTail, *, max_wait_s: float) -> list[LogRecord]:
        records = await batch(tail, max_wait_s=max_wait_s)
        again, before[:] = [*before, *records], records
        return again

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryTail, "batch", repeat)
        yield


class AwayStore(MemoryEffects):
    """Refuses while it is `away`; counts what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.asked = 0

    async def apply(self, *arguments: object, **named: object) -> None:
        self.asked += 1
        if self.away:
            raise StoreUnavailable("the disk is full")
        await super().apply(*arguments, **named)  # type: ignore[arg-type]


def headers_of(record: LogRecord) -> dict[str, str]:
    """Provenance as text."""
    return {name: value.decode() for name, value in record.headers}


def virtual(test: Coroutine[Any, Any, None]) -> None:
    """Run on virtual time, within an hour of it."""

    async def bounded() -> None:
        async with asyncio.timeout(3600):
            await test

    run_virtual(bounded())
