"""The ownership driver on the memory bus: what a room sees when the world around its partition changes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import NoReturn, TypeVar

import orjson
import pytest

from messaging.history import epochs_at
from messaging.lease import Lease, SharedProducer
from messaging.memory import MemoryBus, MemoryLog
from messaging.ownership import Ownership, OwnershipConfig
from messaging.ports import Record
from models.errors import AppendRefused, BrokerUnavailable, OwnershipLost
from models.events import CLAIM_KEY
from models.metrics import MemoryMeter
from tests.support.virtual_loop import later, run_virtual, until

T = TypeVar("T")
TOPIC = "owned"
NOW_NS = 1_795_000_000_000_000_000


class Diary:
    """A room that numbers its records, and notes what happened to it."""

    def __init__(self, bus: MemoryBus) -> None:
        self.bus = bus
        self.leases: list[Lease] = []
        self.lost = 0
        self.failures: list[Exception] = []

    async def restore(self, lease: Lease) -> int:
        if self.failures:
            raise self.failures.pop()
        async for _ in self.bus.read(TOPIC, lease.partition, 0, lease.epoch + 1):
            pass
        return lease.epoch + 1

    async def serve(self, lease: Lease) -> NoReturn:
        self.leases.append(lease)
        try:
            await lease.lost()
        except OwnershipLost:
            self.lost += 1
            raise


class Member:
    """One simulated process that owns what it can of `TOPIC`."""

    def __init__(self, log: MemoryLog, name: str) -> None:
        self.bus = MemoryBus(log, name)
        self.room = Diary(self.bus)
        self.meter = MemoryMeter()
        self.ownership = Ownership(
            self.bus,
            self.room,
            OwnershipConfig(topic=TOPIC, group="owners", name=name),
            clock=lambda: NOW_NS,
            rng=Random(name),
            meter=self.meter,
        )
        self.running = asyncio.create_task(self.ownership.run())

    @property
    def lease(self) -> Lease:
        return self.room.leases[-1]

    async def live(self) -> Lease:
        await until(lambda: self.ownership.ready)
        return self.lease


def test_a_member_claims_restores_and_publishes() -> None:
    """The claim is in the partition it fences, and what is published lies behind it."""

    async def story(log: MemoryLog) -> tuple[list[bytes], int]:
        member = Member(log, "a")
        lease = await member.live()
        base = await lease.append([Record(b"k", b"1"), Record(b"k", b"2")])
        return keys(log), base

    assert play(story) == ([CLAIM_KEY, b"k", b"k"], 1)


def test_a_foreign_claim_ends_the_lease_and_a_probe_precedes_the_next_claim() -> None:
    """The append behind a foreign claim raises; the member, still in the group, claims again."""

    async def story(log: MemoryLog) -> tuple[int, int, int]:
        member = Member(log, "a")
        first = await member.live()
        log.partition(TOPIC, 0).land([Record(CLAIM_KEY, b"{}")], 0)
        with pytest.raises(OwnershipLost, match="claimed"):
            await first.append([Record(b"k", b"void")])
        await until(lambda: len(member.room.leases) == 2)
        return first.epoch, member.lease.epoch, await member.lease.append([Record(b"k", b"valid")])

    assert play(story) == (0, 3, 4)


def test_void_records_of_others_do_not_end_the_lease() -> None:
    """A thawed writer's late record costs one read and nothing else."""

    async def story(log: MemoryLog) -> tuple[int, int]:
        lease = await Member(log, "a").live()
        log.partition(TOPIC, 0).land([Record(b"k", b"stale")], 0)
        first = await lease.append([Record(b"k", b"1")])
        return first, await lease.append([Record(b"k", b"2")])

    assert play(story) == (2, 3)


@pytest.mark.parametrize("fault", ["lose", "lose_ack", "refuse"])
def test_a_doubtful_append_rebuilds_and_claims_again(fault: str) -> None:
    """The old lease is dead for every task that holds it; the next one restores first."""

    async def story(log: MemoryLog) -> tuple[float, int]:
        member = Member(log, "a")
        old = await member.live()
        setattr(log.faults, fault, 1.0)
        with pytest.raises(OwnershipLost):
            await old.append([Record(b"k", b"1")])
        setattr(log.faults, fault, 0.0)
        await until(lambda: len(member.room.leases) == 2)
        with pytest.raises(OwnershipLost, match="has ended"):
            await old.append([Record(b"k", b"2")])
        rebuilds = member.meter.values["hub_producer_rebuilds_total", (("room", "owners"),)]
        return rebuilds, member.room.lost

    assert play(story) == (1.0, 1)


def test_a_frozen_owner_is_fenced_and_does_not_fight_back() -> None:
    """After its thaw it may append once, void; it waits for the group and claims nothing meanwhile."""

    async def story(log: MemoryLog) -> tuple[list[str], bool]:
        frozen = Member(log, "a")
        old = await frozen.live()
        other = Member(log, "b")
        await later(1)
        frozen.bus.process.freeze()
        await until(lambda: other.ownership.ready, within_s=20)
        log.group("owners", TOPIC)._members.remove(frozen.bus._memberships[0]._member)
        frozen.bus.process.thaw()
        with pytest.raises(OwnershipLost):
            await old.append([Record(b"k", b"stale")])
        await later(20)
        await other.lease.append([Record(b"k", b"fine")])
        return claimants(log), other.room.lost == 0

    assert play(story) == (["a", "b"], True)


def test_a_member_that_leaves_publishes_on_until_it_is_fenced() -> None:
    """The hand-over has no moment without an owner."""

    async def story(log: MemoryLog) -> list[str]:
        leaving = Member(log, "a")
        lease = await leaving.live()
        other = Member(log, "b")
        await leaving.ownership.leave()
        await lease.append([Record(b"k", b"still ours")])
        await until(lambda: other.ownership.ready, within_s=20)
        with pytest.raises(OwnershipLost):
            await lease.append([Record(b"k", b"too late")])
        return claimants(log)

    assert play(story) == ["a", "b"]


def test_a_restore_that_fails_is_tried_again_under_the_same_claim() -> None:
    """A broker that does not answer a read is no reason to claim."""

    async def story(log: MemoryLog) -> list[str]:
        member = Member(log, "a")
        member.room.failures = [BrokerUnavailable("down"), BrokerUnavailable("still down")]
        await member.live()
        return claimants(log)

    assert play(story) == ["a"]


def test_down_time_counts_while_assigned_and_not_live() -> None:
    """It is what a health check looks at."""

    async def story(log: MemoryLog) -> tuple[float, bool]:
        member = Member(log, "a")
        await member.live()
        live_s = member.ownership.down_s()
        log.faults.lose = 1.0
        with pytest.raises(OwnershipLost):
            await member.lease.append([Record(b"k", b"1")])
        await later(5)
        return live_s, member.ownership.down_s() >= 5

    assert play(story) == (0.0, True)


def test_one_rebuild_serves_everybody_who_was_in_flight() -> None:
    """Twenty-four partitions that lose one connection do not drop each other's claims in turn."""

    async def story(log: MemoryLog) -> tuple[bool, bool, int]:
        producer = await MemoryBus(log, "a").producer("p")
        shared = SharedProducer(producer)
        seen = await shared.generation()
        first, second = await asyncio.gather(shared.rebuild(seen=seen), shared.rebuild(seen=seen))
        return first, second, producer.health().rebuilds

    assert play(story) == (True, False, 1)


def test_a_reader_that_starts_mid_log_learns_the_last_claim_before_it() -> None:
    """Also when it lies further back than the first look."""

    async def story(log: MemoryLog) -> tuple[bool, bool]:
        log.partition(TOPIC, 0).land([Record(b"k", b"")] * 3, 0)
        log.partition(TOPIC, 0).land([Record(CLAIM_KEY, b"{}")], 0)
        log.partition(TOPIC, 0).land([Record(b"k", b"")] * 3000, 0)
        epochs = await epochs_at(MemoryBus(log, "a"), TOPIC, 0, 3000)
        return epochs.valid(epoch=1, offset=3000), epochs.valid(epoch=3, offset=3000)

    assert play(story) == (False, True)


def test_an_append_on_a_closed_producer_is_refused() -> None:
    """After `run` has ended nothing more is written."""

    async def story(log: MemoryLog) -> str:
        member = Member(log, "a")
        lease = await member.live()
        member.running.cancel()
        await asyncio.gather(member.running, return_exceptions=True)
        with pytest.raises((OwnershipLost, AppendRefused)) as caught:
            await lease.append([Record(b"k", b"1")])
        return type(caught.value).__name__

    assert play(story) == "OwnershipLost"


def play(story: Callable[[MemoryLog], Awaitable[T]]) -> T:
    """Run a story on a broker with one partition and virtual time."""

    async def told() -> T:
        log = MemoryLog(Random(1), clock=lambda: NOW_NS)
        log.faults.delay_s = (0.001, 0.002)
        log.add_topic(TOPIC, 1, {})
        return await story(log)

    return run_virtual(told())


def keys(log: MemoryLog) -> list[bytes]:
    """What is in the log, by key."""
    return [record.key for record in log.partition(TOPIC, 0).records]


def claimants(log: MemoryLog) -> list[str]:
    """The owners named by the claims, in order."""
    records = log.partition(TOPIC, 0).records
    return [orjson.loads(r.value or b"")["owner"] for r in records if r.key == CLAIM_KEY]
