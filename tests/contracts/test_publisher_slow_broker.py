"""Scorecard R6 on librdkafka's mock cluster, and R3 on Apache Kafka: brokers that are slow, and that hang."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from messaging.config import KafkaConfig
from messaging.connect import open_bus
from messaging.ports import EventBus, Record
from messaging.publisher import LaneHealth, Place, Publisher, PublisherConfig, QueueLimits
from models.errors import AppendNotSent, AppendUnknown, ConfigError, MessagingError, QueueFull
from models.metrics import MemoryMeter
from models.request import Priority
from serve_app.servers.apache_kafka import apache_kafka
from tests.conftest import without_kafka
from tests.contracts.test_event_bus import KafkaBroker
from tests.support.eventually import eventually
from tests.support.mock_kafka import mock_kafka

SLOW, QUICK = Place("events", 0), Place("events", 1)
ROUND_TRIP_S = 1.0
LIMITS = QueueLimits(tenant_records=500)
Outcome = tuple[MessagingError | None, float]


@asynccontextmanager
async def opened(config: KafkaConfig) -> AsyncIterator[tuple[EventBus, Publisher]]:
    """A bus and a publisher with small queues."""
    bus = await open_bus(config, client_id="hub")
    publisher = await Publisher.open(
        bus, name="hub", meter=MemoryMeter(), config=PublisherConfig(limits=LIMITS)
    )
    try:
        yield bus, publisher
    finally:
        await publisher.close()
        await bus.close()


async def timed(publisher: Publisher, place: Place, priority: Priority) -> float:
    """Seconds that one publish took."""
    begun = time.monotonic()
    await publisher.publish("acme", place, Record(b"k", b"v"), timeout_s=5.0, priority=priority)
    return time.monotonic() - begun


async def flood(publisher: Publisher) -> None:
    """A tenant that fills its queue on the slow broker again and again."""
    while True:
        calls = (
            publisher.publish("flood", SLOW, Record(b"k", b"v" * 500), timeout_s=5.0) for _ in range(1_000)
        )
        await asyncio.gather(*calls, return_exceptions=True)
        await asyncio.sleep(0.05)  # a tenant that comes back at once when it is refused


async def test_bulk_at_a_slow_broker_holds_up_neither_critical_nor_others() -> None:
    """Critical takes one round trip of the slow broker; another broker's records take what they always do."""
    with mock_kafka(brokers=2) as kafka:
        kafka.create_topic(SLOW.topic, partitions=2)
        kafka.set_leader(*SLOW, 1)
        kafka.set_leader(*QUICK, 2)
        async with opened(kafka.config()) as (_, publisher):
            for priority in Priority:
                await timed(publisher, SLOW, priority)
                await timed(publisher, QUICK, priority)
            kafka.set_round_trip(1, int(ROUND_TRIP_S * 1000))
            flooding = asyncio.create_task(flood(publisher))
            await eventually(lambda: health(publisher).depths.get("flood") == LIMITS.tenant_records)
            slow = [await timed(publisher, SLOW, Priority.CRITICAL) for _ in range(5)]
            quick = [await timed(publisher, QUICK, priority) for _ in range(10) for priority in Priority]
            refused = health(publisher).refused
            flooding.cancel()

    assert max(slow) <= 1.2 * ROUND_TRIP_S
    assert max(quick) <= 0.2 * ROUND_TRIP_S
    assert refused, "the flood stayed within its bounds, so it was none"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """Apache Kafka, to be frozen."""
    try:
        server = apache_kafka(tmp_path_factory.mktemp("kafka"))
    except ConfigError as error:
        without_kafka(error.message)
        raise
    server.start()
    try:
        server.wait_ready()
        yield KafkaBroker(server, KafkaConfig(bootstrap=server.address))
    finally:
        server.stop()


@pytest.mark.kafka
@pytest.mark.slow
async def test_a_frozen_broker_leaves_nobody_waiting_and_gets_nothing_stale(
    broker: KafkaBroker, unique: Callable[[str], str]
) -> None:
    """Frozen for longer than the deadline: outcomes in time, then refusals at once, queues empty, a bounded
    stop, and only what had already left may land afterwards.
    """
    async with opened(broker.config) as (bus, publisher):
        place = Place(unique("t"), 0)
        await bus.create_topic(place.topic, partitions=1, policy={}, replication=1)
        await timed(publisher, place, Priority.BULK)
        broker.freeze()
        first, took_s = await outcome(publisher, place, b"left", timeout_s=1.0)
        assert (type(first), took_s < 1.3) == (AppendUnknown, True)
        await eventually(lambda: health(publisher).unhealthy, timeout_s=5)
        answers = [await outcome(publisher, place, b"stale", timeout_s=5.0) for _ in range(100)]
        assert {type(error) for error, _ in answers} == {AppendNotSent}
        assert max(took_s for _, took_s in answers) < 0.1
        assert all(error.retry_after_s for error, _ in answers if error)
        assert not health(publisher).depths
        broker.thaw()
        await eventually(lambda: not health(publisher).unhealthy)
        assert (await outcome(publisher, place, b"next", timeout_s=5.0))[0] is None
        keys = await all_keys(bus, place)
    assert b"stale" not in keys
    assert keys[-1] == b"next"


@pytest.mark.kafka
@pytest.mark.slow
async def test_stopping_at_a_frozen_broker_is_bounded(
    broker: KafkaBroker, unique: Callable[[str], str]
) -> None:
    """Everybody who waits is answered, within five seconds; what had not left never lands."""
    async with opened(broker.config) as (bus, publisher):
        place = Place(unique("t"), 0)
        await bus.create_topic(place.topic, partitions=1, policy={}, replication=1)
        await timed(publisher, place, Priority.BULK)
        broker.freeze()

        def calls(key: bytes, count: int) -> list[asyncio.Task[Outcome]]:
            return [asyncio.create_task(outcome(publisher, place, key, timeout_s=60.0)) for _ in range(count)]

        waiting = calls(b"waits", 50)
        await eventually(lambda: health(publisher).depths.get("acme") == 50)  # and they are on their way
        queued = calls(b"queued", 900)
        await eventually(lambda: health(publisher).depths.get("acme") == LIMITS.tenant_records)
        begun = time.monotonic()
        await publisher.close()
        assert time.monotonic() - begun < 5
        assert {type(error) for error, _ in await asyncio.gather(*waiting)} == {AppendUnknown}
        late = {type(error) for error, _ in await asyncio.gather(*queued)}
        assert late == {AppendNotSent, QueueFull}
        broker.thaw()
        assert b"queued" not in await all_keys(bus, place)


async def outcome(publisher: Publisher, place: Place, key: bytes, *, timeout_s: float) -> Outcome:
    """What a publish came to, and after how many seconds."""
    begun, error = time.monotonic(), None
    try:
        await publisher.publish("acme", place, Record(key, b"v"), timeout_s=timeout_s)
    except MessagingError as refusal:
        error = refusal
    return error, time.monotonic() - begun


async def all_keys(bus: EventBus, place: Place) -> list[bytes]:
    """The keys of what lies there."""
    first, end = await bus.bounds(*place)
    return [record.key async for records in bus.read(*place, first, end) for record in records]


def health(publisher: Publisher) -> LaneHealth:
    """Of the lane that is flooded."""
    return publisher.health()[Priority.BULK]
