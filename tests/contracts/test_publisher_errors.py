"""Scorecard R5 and R4 on librdkafka's mock cluster: every produce error, and callers that give up."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from random import Random

import pytest

from messaging.connect import open_bus
from messaging.ports import EventBus, Record
from messaging.publisher import LaneHealth, Place, Publisher
from models.errors import AppendNotSent, AppendRefused, AppendUnknown
from models.metrics import MemoryMeter
from models.request import Priority
from tests.support.eventually import eventually
from tests.support.mock_kafka import MockKafka, mock_kafka

TOPIC = "events"
PARTITIONS = 4
RECOVERY_S = 5.0
RETRIED = {
    3: "unknown topic or partition",
    5: "leader not available",
    6: "not leader for partition",
    7: "request timed out",
    19: "not enough replicas",
    20: "not enough replicas after append",
}
REFUSED = {10: "message too large", 29: "topic authorization failed"}
DOUBTFUL = {
    45: "out of order sequence number",
    46: "duplicate sequence number",
    47: "invalid producer epoch",
    59: "unknown producer id",
}


@pytest.fixture
def kafka() -> Iterator[MockKafka]:
    """One broker with the topic."""
    with mock_kafka() as cluster:
        cluster.create_topic(TOPIC, partitions=PARTITIONS)
        yield cluster


@pytest.fixture
async def bus(kafka: MockKafka) -> AsyncIterator[EventBus]:
    """A bus on it."""
    bus = await open_bus(kafka.config(), client_id="hub")
    yield bus
    await bus.close()


@pytest.fixture
async def publisher(bus: EventBus) -> AsyncIterator[Publisher]:
    """A publisher that has published before."""
    publisher = await Publisher.open(bus, name="hub", meter=MemoryMeter())
    await publish(publisher, "before")
    yield publisher
    await publisher.close()


async def publish(publisher: Publisher, value: str, *, partition: int = 0, timeout_s: float = 2.0) -> int:
    """One record, named by its value."""
    place = Place(TOPIC, partition)
    return await publisher.publish("acme", place, Record(value.encode(), b"v"), timeout_s=timeout_s)


async def published_soon(publisher: Publisher, value: str) -> None:
    """The next publish is ok within five seconds, by the same publisher."""
    begun = time.monotonic()
    while True:
        try:
            await publish(publisher, value)
        except AppendRefused:
            assert time.monotonic() - begun < RECOVERY_S
            await asyncio.sleep(0.05)  # as a caller would who is told to retry
        else:
            break
    assert time.monotonic() - begun < RECOVERY_S


async def values(bus: EventBus) -> list[str]:
    """All that is in the log."""
    found = []
    for partition in range(PARTITIONS):
        first, end = await bus.bounds(TOPIC, partition)
        async for records in bus.read(TOPIC, partition, first, end):
            found += [record.key.decode() for record in records]
    return found


def bulk(publisher: Publisher) -> LaneHealth:
    """The lane that all of this uses."""
    return publisher.health()[Priority.BULK]


@pytest.mark.parametrize("code", RETRIED)
async def test_a_passing_error_is_waited_out(
    kafka: MockKafka, bus: EventBus, publisher: Publisher, code: int
) -> None:
    """The record lands once, in time, and the producer is kept."""
    kafka.fail_produce([code])
    await publish(publisher, "retried")
    await publish(publisher, "next")

    assert await values(bus) == ["before", "retried", "next"]
    assert bulk(publisher).rebuilds == 0


@pytest.mark.parametrize("code", RETRIED)
async def test_an_error_that_stays_is_unknown_at_the_deadline(
    kafka: MockKafka, publisher: Publisher, code: int
) -> None:
    """Nobody waits longer than said, and the next publish is ok once the broker is well."""
    kafka.fail_produce([code] * 1_000)
    begun = time.monotonic()
    with pytest.raises(AppendUnknown):
        await publish(publisher, "doomed", timeout_s=0.6)
    assert time.monotonic() - begun < 0.9

    kafka.heal_produce()
    await published_soon(publisher, "next")
    assert bulk(publisher).rebuilds >= 1


@pytest.mark.parametrize("code", REFUSED)
async def test_a_refusal_is_definite(
    kafka: MockKafka, bus: EventBus, publisher: Publisher, code: int
) -> None:
    """The caller is told so, the record is nowhere, and the producer is rebuilt before the next."""
    kafka.fail_produce([code])
    with pytest.raises(AppendRefused):
        await publish(publisher, "refused")
    await published_soon(publisher, "next")

    assert await values(bus) == ["before", "next"]
    assert bulk(publisher).rebuilds == 1


@pytest.mark.parametrize("code", DOUBTFUL)
async def test_a_broken_sequence_is_unknown_and_costs_a_rebuild(
    kafka: MockKafka, publisher: Publisher, code: int
) -> None:
    """Without the rebuild the partition would refuse everything until the process restarts."""
    kafka.fail_produce([code])
    with pytest.raises(AppendUnknown):
        await publish(publisher, "doubtful")
    await published_soon(publisher, "next")

    assert bulk(publisher).rebuilds == 1


async def test_what_never_left_costs_no_rebuild(publisher: Publisher) -> None:
    """A partition that does not exist is the business of those who publish to it, and of nobody else."""
    with pytest.raises(AppendNotSent):
        await publish(publisher, "nowhere", partition=99)
    await publish(publisher, "next")

    assert bulk(publisher).rebuilds == 0


async def test_a_partition_without_a_leader_holds_up_no_other(
    kafka: MockKafka, bus: EventBus, publisher: Publisher
) -> None:
    """Its record is unknown at the deadline and is not sent later; the others are published all the time."""
    kafka.set_leader(TOPIC, 0, None)
    waiting = asyncio.create_task(publish(publisher, "doomed", timeout_s=1.0))
    others = [await publish(publisher, f"other-{number}", partition=1) for number in range(20)]
    with pytest.raises(AppendUnknown):
        await waiting
    kafka.set_leader(TOPIC, 0, 1)
    await published_soon(publisher, "next")

    assert others == list(range(20))
    assert "doomed" not in await values(bus)


async def test_a_thousand_cancelled_publishes_are_each_read_once(
    bus: EventBus, publisher: Publisher, record_property: Callable[[str, object], None]
) -> None:
    """Cancelled at random points and retried with the same id: a reader that drops repeats sees each once."""
    rng = Random(4)

    async def stubborn(event_id: str) -> None:
        attempt = asyncio.create_task(publish(publisher, event_id, partition=rng.randrange(PARTITIONS)))
        await asyncio.sleep(rng.uniform(0, 0.02))
        attempt.cancel()
        await asyncio.gather(attempt, return_exceptions=True)
        await publish(publisher, event_id, timeout_s=10.0)

    ids = [f"event-{number}" for number in range(1_000)]
    await asyncio.gather(*(stubborn(event_id) for event_id in ids))
    raw = Counter(await values(bus)) - Counter(["before"])
    repeated = raw.total() - len(raw)
    record_property("raw_duplicates", repeated)

    assert set(raw) == set(ids)
    assert repeated, "no cancelled publish had been sent, so this proved nothing"
    await eventually(lambda: not bulk(publisher).depths)
