"""What every `EventBus` must do; `test_event_bus.py` runs it on the memory bus and on real brokers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager
from typing import Protocol

import pytest

from messaging.ports import EventBus, LogRecord, Membership, Record
from messaging.topics import Topic, check_topics, create_topics
from models.errors import AppendRefused, AppendUnknown, BrokerUnavailable, TopicMismatch
from tests.support.eventually import eventually

Unique = Callable[[str], str]
DELETE = {"cleanup.policy": "delete"}


class Broker(Protocol):
    """What a test may do to a broker. Frozen: it answers nothing. Gone: it receives nothing either."""

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...

    def gone(self) -> AbstractAsyncContextManager[None]: ...


class Worker(Protocol):
    """A group member in a process of its own, which can be frozen."""

    async def join(self, group: str, topic: str) -> frozenset[int]: ...

    async def confirm(self, partition: int) -> bool: ...

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...


@contextmanager
def frozen(broker: Broker) -> Iterator[None]:
    """Thaws whatever happens, because other tests use the broker, too."""
    broker.freeze()
    try:
        yield
    finally:
        broker.thaw()


def some(count: int, *, of: str = "r", size: int = 10) -> list[Record]:
    """Records with keys that tell them apart."""
    return [Record(f"{of}{i}".encode(), b"v" * size) for i in range(count)]


async def all_of(bus: EventBus, topic: str, partition: int = 0) -> list[LogRecord]:
    """Everything in a partition now."""
    return await read(bus, topic, *await bus.bounds(topic, partition), partition=partition)


async def read(bus: EventBus, topic: str, start: int, stop: int, *, partition: int = 0) -> list[LogRecord]:
    """The records in [start, stop), within ten seconds."""
    async with asyncio.timeout(10):
        return [record async for chunk in bus.read(topic, partition, start, stop) for record in chunk]


def keys(records: Sequence[LogRecord]) -> list[bytes]:
    """In the order of the log."""
    return [record.key for record in records]


async def _watch(member: Membership) -> None:
    """Wait for assignments, as an owner does."""
    while True:
        await member.changed()


class EventBusContract:
    """Subclasses give the fixtures `broker`, `bus` and `other` (as if of two processes), and `worker`."""

    @pytest.fixture
    async def topic(self, bus: EventBus, unique: Unique) -> str:
        """A fresh topic of four partitions."""
        name = unique("t")
        await bus.create_topic(name, partitions=4, policy=DELETE, replication=1)
        return name

    # Appends

    async def test_appends_get_contiguous_offsets(self, bus: EventBus, topic: str) -> None:
        """Each append returns the offset of its first record, counted per partition."""
        producer = await bus.producer("p")
        bases = [await producer.append(topic, 1, some(3), timeout_s=5) for _ in range(4)]

        assert bases == [0, 3, 6, 9]
        assert await producer.append(topic, 2, some(1), timeout_s=5) == 0
        assert await bus.bounds(topic, 1) == (0, 12)

    async def test_records_come_back_as_written(self, bus: EventBus, topic: str) -> None:
        """Key, value, headers, a tombstone and the place in the log survive the way there and back."""
        written = [
            Record(b"a", b"1", (("h", b"\x00x"), ("h", b"2"))),
            Record(b"b", None),
            Record(b"\xff", b""),
        ]
        await (await bus.producer("p")).append(topic, 3, written, timeout_s=5)

        found = await all_of(bus, topic, 3)
        assert [Record(r.key, r.value, tuple(r.headers)) for r in found] == written
        assert [(r.topic, r.partition, r.offset) for r in found] == [(topic, 3, i) for i in range(3)]
        assert all(abs(r.timestamp_ms - time.time() * 1000) < 60_000 for r in found)

    async def test_a_large_batch_comes_back_as_written(self, bus: EventBus, topic: str) -> None:
        """One that is large enough to be compressed is read like any other."""
        producer = await bus.producer("writer")
        records = some(200, size=1_500)
        await producer.append(topic, 0, some(1), timeout_s=5)
        await producer.append(topic, 0, records, timeout_s=5)
        read = await all_of(bus, topic)
        assert [(record.key, record.value) for record in read[1:]] == [(r.key, r.value) for r in records]

    async def test_a_batch_that_is_too_large_leaves_no_trace(self, bus: EventBus, topic: str) -> None:
        """AppendRefused, nothing of it in the log, and the partition takes the next batch as ever."""
        producer = await bus.producer("p")
        await producer.append(topic, 0, some(1), timeout_s=5)
        with pytest.raises(AppendRefused):
            await producer.append(topic, 0, some(20, size=100_000), timeout_s=5)

        assert await producer.append(topic, 0, some(1), timeout_s=5) == 1

    async def test_what_fits_is_taken(self, bus: EventBus, topic: str) -> None:
        """`fits` counts records from the first, and exactly that many make one batch that lands whole."""
        producer = await bus.producer("p")
        records = some(5000, size=400)
        count = producer.fits(records)

        assert 1000 < count < 5000
        assert producer.fits(records[:10]) == 10
        assert await producer.append(topic, 0, records[:count], timeout_s=10) == 0
        assert await bus.bounds(topic, 0) == (0, count)

    async def test_batches_of_two_writers_interleave_whole(
        self, bus: EventBus, other: EventBus, topic: str
    ) -> None:
        """Two processes write to one partition: every batch is whole, at the offset its writer was told."""
        writers = {"a": await bus.producer("p"), "b": await other.producer("p")}

        async def write(name: str) -> list[int]:
            return [await writers[name].append(topic, 0, some(5, of=name), timeout_s=5) for _ in range(10)]

        bases = dict(zip(writers, await asyncio.gather(write("a"), write("b")), strict=True))
        log = keys(await all_of(bus, topic))
        assert len(log) == 100
        for name, offsets in bases.items():
            for base in offsets:
                assert log[base : base + 5] == [record.key for record in some(5, of=name)]

    async def test_an_empty_batch_is_refused(self, bus: EventBus, topic: str) -> None:
        """It would have no offset."""
        with pytest.raises(AppendRefused):
            await (await bus.producer("p")).append(topic, 0, [], timeout_s=5)

    async def test_an_unknown_partition_is_refused(self, bus: EventBus, topic: str) -> None:
        """Nothing was sent, so the outcome is definite."""
        producer = await bus.producer("p")
        with pytest.raises((AppendRefused, TopicMismatch)):
            await producer.append(topic, 99, some(1), timeout_s=5)

    # Reads

    async def test_a_read_returns_exactly_its_range(self, bus: EventBus, topic: str) -> None:
        """[start, stop), whatever the batches; an empty range returns at once."""
        producer = await bus.producer("p")
        for _ in range(3):
            await producer.append(topic, 0, some(1000), timeout_s=5)

        assert [r.offset for r in await read(bus, topic, 999, 2001)] == list(range(999, 2001))
        assert await read(bus, topic, 7, 7) == []

    async def test_a_read_waits_for_what_is_still_to_come(self, bus: EventBus, topic: str) -> None:
        """A stop beyond the end is reached when somebody writes up to it."""
        producer = await bus.producer("p")
        reading = asyncio.create_task(read(bus, topic, 0, 6))
        await producer.append(topic, 0, some(3), timeout_s=5)
        await producer.append(topic, 0, some(9), timeout_s=5)

        assert [r.offset for r in await reading] == list(range(6))

    async def test_reads_are_apart_whatever_became_of_the_one_before(self, bus: EventBus, topic: str) -> None:
        """Ranges of two partitions in turn, the same one again, reads that were given up, several at once."""
        producer = await bus.producer("p")
        for partition in (0, 1):
            records = some(9, of=f"p{partition}-")
            await producer.append(topic, partition, records, timeout_s=5)

        async def range_of(partition: int, start: int, stop: int) -> list[bytes]:
            return keys(await read(bus, topic, start, stop, partition=partition))

        for _ in range(3):
            async with aclosing(bus.read(topic, 0, 0, 9)) as given_up:
                await anext(given_up)
            assert await range_of(0, 2, 4) == [b"p0-2", b"p0-3"]
            assert await range_of(1, 0, 2) == [b"p1-0", b"p1-1"]
            assert await range_of(1, 0, 2) == [b"p1-0", b"p1-1"]
        many = await asyncio.gather(*(range_of(place % 2, place, place + 1) for place in range(8)))
        assert many == [[f"p{place % 2}-{place}".encode()] for place in range(8)]

    async def test_an_offset_is_found_by_time(self, bus: EventBus, topic: str) -> None:
        """The first record at or after the time; the end for a time to come."""
        producer = await bus.producer("p")
        await producer.append(topic, 0, some(2), timeout_s=5)
        await asyncio.sleep(0.05)  # the broker's clock has milliseconds, and this is about two different ones
        await producer.append(topic, 0, some(2), timeout_s=5)
        times = [record.timestamp_ms for record in await all_of(bus, topic)]

        assert times[1] < times[2]
        assert await bus.offset_at(topic, 0, times[0]) == 0
        assert await bus.offset_at(topic, 0, (times[1] + times[2]) // 2) == 2
        assert await bus.offset_at(topic, 0, times[2]) == 2
        assert await bus.offset_at(topic, 0, times[3] + 3_600_000) == 4

    # Tails

    @pytest.mark.parametrize("late_ms", [0, 200])
    async def test_a_tail_follows_several_partitions(self, bus: EventBus, topic: str, late_ms: int) -> None:
        """From the given offsets, in order per partition, first what is there and then what comes; in a hurry
        or not.
        """
        producer = await bus.producer("p")
        await producer.append(topic, 0, some(3), timeout_s=5)
        tail = await bus.tail(topic, {0: 2, 1: 0}, late_ms=late_ms)
        await producer.append(topic, 1, some(2), timeout_s=5)
        await producer.append(topic, 0, some(2), timeout_s=5)
        seen: dict[int, list[int]] = {0: [], 1: []}

        async def complete() -> bool:
            for record in await tail.batch(max_wait_s=0.1):
                seen[record.partition].append(record.offset)
            return seen == {0: [2, 3, 4], 1: [0, 1]}

        await eventually(complete)
        assert (tail.position(0), tail.position(1)) == (5, 2)

    async def test_a_held_partition_waits(self, bus: EventBus, topic: str) -> None:
        """Nothing of it is returned until it is let go, and then nothing is missing; the others go on."""
        producer = await bus.producer("p")
        tail = await bus.tail(topic, {0: 0, 1: 0})
        for _ in range(2):
            tail.hold({0})
            for partition in (0, 1):
                await producer.append(topic, partition, some(2), timeout_s=5)
            first = await eventually(lambda: tail.batch(max_wait_s=0.2))
            assert {record.partition for record in first} == {1}
            assert not await tail.batch(max_wait_s=0.2)

        tail.hold(())
        held = [record for _ in range(2) for record in await tail.batch(max_wait_s=1)]

        assert [(record.partition, record.offset) for record in held] == [(0, 0), (0, 1), (0, 2), (0, 3)]

    async def test_a_tail_returns_empty_after_its_wait(self, bus: EventBus, topic: str) -> None:
        """Nothing new: an empty list, about when asked for, and the position stays."""
        tail = await bus.tail(topic, {0: 0})
        started = time.monotonic()

        assert await tail.batch(max_wait_s=0.2) == []
        assert 0.15 < time.monotonic() - started < 2
        assert tail.position(0) == 0

    # Groups

    async def test_members_share_the_partitions(
        self, bus: EventBus, other: EventBus, unique: Unique, topic: str
    ) -> None:
        """Alone a member gets all; two get all between them and nothing twice; who stays takes over."""
        group = unique("g")
        first = await bus.join(group, topic)
        assert await first.changed() == {0, 1, 2, 3}

        second = await other.join(group, topic)
        assert await second.changed()
        assert await first.changed()
        assert len(first.assigned) == len(second.assigned) == 2
        assert first.assigned | second.assigned == {0, 1, 2, 3}

        await second.leave()
        assert await first.changed() == {0, 1, 2, 3}

    async def test_a_member_confirms_what_it_holds(
        self, bus: EventBus, other: EventBus, unique: Unique, topic: str
    ) -> None:
        """True for its own partitions in the current generation, false for others' and after it left."""
        group = unique("g")
        first, second = await bus.join(group, topic), await other.join(group, topic)
        await eventually(lambda: len(first.assigned) == len(second.assigned) == 2)
        mine, yours = min(first.assigned), min(second.assigned)

        assert await first.confirm(mine)
        assert not await first.confirm(yours)
        await first.leave()
        assert not await first.confirm(mine)

    async def test_an_evicted_member_is_not_confirmed(
        self, bus: EventBus, worker: Worker, unique: Unique, topic: str
    ) -> None:
        """A frozen member loses its partitions after the session; thawed, it is told so, and then rejoins."""
        group = unique("g")
        assert await worker.join(group, topic) == {0, 1, 2, 3}
        assert await worker.confirm(0)
        worker.freeze()
        heir = await bus.join(group, topic)
        await eventually(lambda: heir.assigned == {0, 1, 2, 3}, timeout_s=20)
        asked = asyncio.create_task(worker.confirm(0))  # the first thing that it is to do, before it rejoins
        await asyncio.sleep(0)
        worker.thaw()

        assert not await asked
        await eventually(lambda: len(heir.assigned) == 2)

    async def test_a_member_survives_an_outage(
        self, bus: EventBus, broker: Broker, unique: Unique, topic: str
    ) -> None:
        """Nothing is confirmed while nobody answers; afterwards it is again, without anybody's doing."""
        member = await bus.join(unique("g"), topic)
        watching = asyncio.create_task(_watch(member))
        async with broker.gone():
            assert not await member.confirm(0)
        await eventually(lambda: member.confirm(0), timeout_s=60)
        watching.cancel()

    # Failures

    async def test_a_frozen_broker_leaves_an_append_unknown(
        self, bus: EventBus, broker: Broker, topic: str
    ) -> None:
        """AppendUnknown at the timeout, counted; after a rebuild the producer works again."""
        producer = await bus.producer("p")
        await producer.append(topic, 0, some(1), timeout_s=5)
        with frozen(broker):
            started = time.monotonic()
            with pytest.raises(AppendUnknown):
                await producer.append(topic, 0, some(1), timeout_s=0.5)
            took_s = time.monotonic() - started
            await producer.rebuild()

        assert 0.4 < took_s < 2
        assert await producer.append(topic, 0, some(1, of="new"), timeout_s=10) in {1, 2}
        assert keys(await all_of(bus, topic))[-1] == b"new0"
        health = producer.health()
        assert (health.unknown, health.rebuilds, health.oldest_pending_s) == (1, 1, 0.0)

    async def test_a_rebuild_settles_what_is_in_flight(
        self, bus: EventBus, broker: Broker, topic: str
    ) -> None:
        """An append that waits for its answer learns of the rebuild at once, not at its timeout."""
        producer = await bus.producer("p")
        await producer.append(topic, 0, some(1), timeout_s=5)
        with frozen(broker):
            waiting = asyncio.create_task(producer.append(topic, 0, some(1), timeout_s=60))
            await eventually(lambda: producer.health().oldest_pending_s > 0)
            async with asyncio.timeout(5):
                await producer.rebuild()
                with pytest.raises(AppendUnknown):
                    await waiting

    async def test_a_rebuilt_producer_sends_nothing_old(
        self, bus: EventBus, other: EventBus, broker: Broker, topic: str
    ) -> None:
        """What could not leave during an outage never arrives after a rebuild; without one it does."""
        rebuilt, patient = await bus.producer("rebuilt"), await other.producer("patient")
        for producer in (rebuilt, patient):
            await producer.append(topic, 0, some(1, of="before"), timeout_s=5)
        async with broker.gone():
            for producer, partition in ((rebuilt, 0), (patient, 1)):
                with pytest.raises(AppendUnknown):
                    await producer.append(topic, partition, some(1, of="old"), timeout_s=0.5)
            await rebuilt.rebuild()

        async def patient_delivered() -> bool:
            return keys(await all_of(other, topic, 1)) == [b"old0"]

        await eventually(patient_delivered, timeout_s=20)
        await rebuilt.append(topic, 0, some(1, of="new"), timeout_s=10)
        assert keys(await all_of(bus, topic, 0)) == [b"before0", b"before0", b"new0"]

    async def test_closing_is_bounded_while_the_broker_is_frozen(
        self, bus: EventBus, broker: Broker, unique: Unique, topic: str
    ) -> None:
        """Producer, tail and member are given up within five seconds, whatever is in flight."""
        producer, _ = await bus.producer("p"), await bus.tail(topic, {0: 0})
        await bus.join(unique("g"), topic)
        await producer.append(topic, 0, some(1), timeout_s=5)
        with frozen(broker):
            waiting = asyncio.create_task(producer.append(topic, 0, some(1), timeout_s=60))
            await eventually(lambda: producer.health().oldest_pending_s > 0)
            async with asyncio.timeout(5):
                await bus.close()
                with pytest.raises(AppendUnknown):
                    await waiting

    async def test_a_ping_tells_whether_the_broker_answers(self, bus: EventBus, broker: Broker) -> None:
        """Nothing while it does, BrokerUnavailable within the timeout while it does not."""
        await bus.ping(timeout_s=5)
        with frozen(broker):
            async with asyncio.timeout(3):
                with pytest.raises(BrokerUnavailable):
                    await bus.ping(timeout_s=0.5)
        await bus.ping(timeout_s=5)

    # Topics

    async def test_topics_are_created_once(self, bus: EventBus, unique: Unique) -> None:
        """Missing ones are made, existing ones left alone; then the check has nothing to refuse."""
        wanted = [
            Topic(unique("a"), 3, DELETE, "k"),
            Topic(unique("b"), 1, {"cleanup.policy": "compact"}, "k"),
        ]

        assert await create_topics(bus, 1, wanted[:1]) == [wanted[0].name]
        assert await create_topics(bus, 1, wanted) == [wanted[1].name]
        await check_topics(bus, wanted)
        with pytest.raises(TopicMismatch):
            await bus.create_topic(wanted[0].name, partitions=3, policy=DELETE, replication=1)

    async def test_the_check_names_every_difference(self, bus: EventBus, unique: Unique, topic: str) -> None:
        """A missing topic and a wrong partition count are both in one refusal, by name and number."""
        missing = Topic(unique("missing"), 1, DELETE, "k")
        with pytest.raises(TopicMismatch) as refusal:
            await check_topics(bus, [missing, Topic(topic, 6, DELETE, "k")])

        assert f"{missing.name} is missing" in refusal.value.message
        assert f"{topic} has 4 partitions, expected 6" in refusal.value.message

    async def test_a_wrong_policy_is_refused_or_noticed(self, bus: EventBus, topic: str) -> None:
        """Where the broker reports the policy, a difference is a refusal; where it does not, a notice."""
        reported = (await bus.topics())[topic].policy
        compacted = [Topic(topic, 4, {"cleanup.policy": "compact"}, "k")]
        if reported and "cleanup.policy" in reported:
            with pytest.raises(TopicMismatch, match=r"cleanup\.policy=delete, expected compact"):
                await check_topics(bus, compacted)
        else:
            assert topic in (await check_topics(bus, compacted))[0]
