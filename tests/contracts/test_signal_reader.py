"""The reader library and the foreign example on a real broker: groups, hand-over, one effect per delivery."""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import orjson
import pytest

from deployments.reader import ReaderConfig, Service, SignalReader, SqliteEffects, Start
from messaging.config import KafkaConfig
from messaging.connect import open_bus
from messaging.ports import EventBus, Producer, Record
from messaging.topics import SIGNALS, SIGNALS_DLQ, create_topics, partition_of
from models.events import CLAIM_KEY
from tests.support.eventually import eventually
from tests.unit.signals.records import BAR_MS, CLOSE_MS, signal_bytes

pytestmark = pytest.mark.timeout(180)
EXAMPLE = Path(__file__).parents[2] / "examples" / "foreign_reader" / "reader.py"
TTL_NS = 60 * 10**9
USERS = 12
SLOTS = 6
Unique = Callable[[str], str]


class Owner:
    """Claims every user's partition and writes their signals, as a fan-out worker does."""

    def __init__(self, producer: Producer, users: list[str]) -> None:
        self._producer = producer
        self.homes = {user: partition_of(user.encode(), SIGNALS.partitions) for user in users}
        self._epochs: dict[int, int] = {}

    async def claim(self) -> None:
        """Own all of them, from here on."""
        for partition in sorted(set(self.homes.values())):
            self._epochs[partition] = await self._append(partition, Record(CLAIM_KEY, b"{}"))

    async def deliver(self, slot: int, *, stale: int = 0) -> None:
        """One signal to each user; `stale` names an epoch so many claims too old."""
        now_ns = time.time_ns()
        for user, partition in self.homes.items():
            epoch = self._epochs[partition] - stale
            raw = signal_bytes(
                user_id=user, close_ms=CLOSE_MS + slot * BAR_MS, sequence=slot + 1, epoch=epoch
            )
            body = {**orjson.loads(raw), "generated_ns": now_ns, "expires_ns": now_ns + TTL_NS}
            await self._append(partition, Record(user.encode(), orjson.dumps(body)))

    async def _append(self, partition: int, record: Record) -> int:
        return await self._producer.append(SIGNALS.name, partition, [record], timeout_s=10)


@pytest.fixture
async def bus(kafka_bootstrap: str) -> AsyncIterator[EventBus]:
    """On Apache Kafka, with the topics in place."""
    bus = await open_bus(KafkaConfig(bootstrap=kafka_bootstrap), client_id="reader-test")
    await create_topics(bus, 1, (SIGNALS, SIGNALS_DLQ))
    yield bus
    await bus.close()


@pytest.fixture
async def owner(bus: EventBus, unique: Unique) -> Owner:
    """An owner of users that no other test has."""
    name = unique("u")[-8:]
    owner = Owner(await bus.producer("owner"), [f"user-{name}-{number}" for number in range(USERS)])
    await owner.claim()
    return owner


@asynccontextmanager
async def reading(bootstrap: str, file: Path, service: Service) -> AsyncIterator[SignalReader]:
    """A reader as a process of its own would be: own connections, own handle on the shared store."""
    bus = await open_bus(KafkaConfig(bootstrap=bootstrap), client_id=service.name)
    store = SqliteEffects(file)
    config = ReaderConfig(start=Start.EARLIEST)
    reader = SignalReader(
        bus, store, service, clock=time.time_ns, rng=random.Random(service.name), config=config
    )
    task = asyncio.create_task(reader.run())
    try:
        yield reader
    finally:
        task.cancel()
        await asyncio.wait({task})
        await store.close()
        await bus.close()


def effects(file: Path) -> list[tuple[str, int, str]]:
    """User, sequence and outcome, per user in the order in which they were put down."""
    with closing(sqlite3.connect(file)) as database:
        query = "SELECT user_id, sequence, outcome FROM effects ORDER BY user_id, id"
        return [(user, number, outcome) for user, number, outcome in database.execute(query)]


@pytest.mark.kafka
async def test_a_group_hands_over_and_does_everything_once(
    kafka_bootstrap: str, owner: Owner, tmp_path: Path, unique: Unique
) -> None:
    """One reader, then two, then the other alone; an owner is replaced and writes on as a zombie."""
    file, service = tmp_path / "desk.sqlite", Service(unique("desk"), users=frozenset(owner.homes))
    expected = [(user, number, "acted") for user in sorted(owner.homes) for number in range(1, SLOTS + 1)]

    async with reading(kafka_bootstrap, file, service) as second:
        async with reading(kafka_bootstrap, file, service) as first:
            await owner.deliver(0)
            await owner.deliver(1)
            await eventually(lambda: first.health().partitions and second.health().partitions, timeout_s=30)
            await owner.claim()
            await owner.deliver(2, stale=1)
            await owner.deliver(2)
            await owner.deliver(3)
        for slot in range(4, SLOTS):
            await owner.deliver(slot)
        await eventually(lambda: len(effects(file)) >= len(expected), timeout_s=60)

    assert effects(file) == expected


@pytest.fixture
def foreign(kafka_bootstrap: str, owner: Owner, tmp_path: Path) -> Iterator[Path]:
    """The store of the foreign example, which runs for the same users."""
    file = tmp_path / "foreign.sqlite"
    command = [sys.executable, str(EXAMPLE), "--kafka", kafka_bootstrap, "--file", str(file)]
    with subprocess.Popen([*command, "--users", *owner.homes], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "reading\n"
        yield file
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0


@pytest.mark.kafka
async def test_the_foreign_example_does_the_same(owner: Owner, foreign: Path) -> None:
    """librdkafka, from the published contract alone."""
    for slot in range(3):
        await owner.deliver(slot)
    await owner.claim()
    await owner.deliver(3, stale=1)
    await owner.deliver(3)
    expected = [(user, number, "acted") for user in sorted(owner.homes) for number in range(1, 5)]

    await eventually(lambda: effects(foreign) == expected, timeout_s=60)
