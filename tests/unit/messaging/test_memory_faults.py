"""The memory bus does to appends, members and processes what simulations ask for, and nothing else."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from messaging.memory import Faults, MemoryBus, MemoryLog, Process
from messaging.ports import Record
from models.errors import AppendRefused, AppendUnknown, BrokerUnavailable
from tests.support.eventually import eventually

ONE = [Record(b"k", b"v")]


@pytest.fixture
def log() -> MemoryLog:
    """A broker with one topic and short sessions."""
    log = MemoryLog(random.Random(1), session_s=0.1, heartbeat_s=0.01)
    log.add_topic("t", 2, {})
    return log


@pytest.fixture
async def bus(log: MemoryLog) -> AsyncIterator[MemoryBus]:
    """One process on it."""
    bus = MemoryBus(log, "one")
    yield bus
    await bus.close()


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        (Faults(refuse=1), (AppendRefused, 0)),
        (Faults(lose=1), (AppendUnknown, 0)),
        (Faults(lose_ack=1), (AppendUnknown, 1)),
        (Faults(late=1, late_s=0.0), (AppendUnknown, 1)),
    ],
)
async def test_each_fault_has_its_outcome(
    log: MemoryLog, bus: MemoryBus, faults: Faults, expected: tuple[type[Exception], int]
) -> None:
    """What the writer is told, against what is in the log."""
    outcome, landed = expected
    producer = await bus.producer("p")
    log.faults = faults
    with pytest.raises(outcome):
        await producer.append("t", 0, ONE, timeout_s=0.05)

    assert await bus.bounds("t", 0) == (0, landed)


async def test_a_repeated_append_acknowledges_the_second(log: MemoryLog, bus: MemoryBus) -> None:
    """As a retry of a producer without idempotence: the offset is not the expected one."""
    log.faults.repeat = 1
    assert await (await bus.producer("p")).append("t", 0, ONE, timeout_s=1) == 1


async def test_a_late_append_survives_a_rebuild(log: MemoryLog, bus: MemoryBus) -> None:
    """A broker may hold bytes that nobody can take back."""
    log.faults.late, log.faults.late_s = 1, 0.2
    producer = await bus.producer("p")
    with pytest.raises(AppendUnknown):
        await producer.append("t", 0, ONE, timeout_s=0.01)
    await producer.rebuild()

    await eventually(lambda: log.partition("t", 0).end == 1)


async def test_a_frozen_process_writes_when_it_thaws(log: MemoryLog, bus: MemoryBus) -> None:
    """The zombie: nothing leaves while it is frozen, and then it does, long after its time."""
    producer = await bus.producer("p")
    appending = asyncio.create_task(producer.append("t", 0, ONE, timeout_s=0.01))
    bus.process.freeze()
    await asyncio.sleep(0.05)  # nothing observable may happen in this time
    assert not appending.done()
    assert log.partition("t", 0).end == 0
    bus.process.thaw()

    assert await appending == 0
    assert log.partition("t", 0).end == 1


async def test_a_crashed_process_never_acts_again(log: MemoryLog, bus: MemoryBus) -> None:
    """Its call in flight does not return, its member is evicted, thawing it does nothing."""
    member = await bus.join("g", "t")
    assert await member.changed() == {0, 1}
    producer = await bus.producer("p")
    bus.process.crash()
    appending = asyncio.create_task(producer.append("t", 0, ONE, timeout_s=0.01))
    heir = await MemoryBus(log, "two").join("g", "t")
    assert await heir.changed() == {0, 1}
    bus.process.thaw()

    assert not appending.done()
    assert log.partition("t", 0).end == 0
    appending.cancel()


async def test_a_step_can_crash_a_process_between_landing_and_learning(log: MemoryLog) -> None:
    """The step after the append: the record is in the log and nobody was told."""
    process = Process("p", on_step=lambda _, what: process.crash() if what.startswith("acked") else None)
    producer = await MemoryBus(log, "p", process=process).producer("p")
    appending = asyncio.create_task(producer.append("t", 0, ONE, timeout_s=1))
    await eventually(lambda: log.partition("t", 0).end == 1)

    assert process.crashed
    assert not appending.done()
    appending.cancel()


async def test_a_cut_link_concerns_one_process(log: MemoryLog, bus: MemoryBus) -> None:
    """The other one goes on; the one that is cut off learns nothing until it is mended."""
    other = MemoryBus(log, "two")
    log.cut("one")
    with pytest.raises(BrokerUnavailable):
        await bus.ping(timeout_s=0.02)
    await other.ping(timeout_s=1)
    log.mend("one")
    await bus.ping(timeout_s=1)


async def test_the_group_can_lie(log: MemoryLog, bus: MemoryBus) -> None:
    """A shared partition is assigned to, and confirmed for, two members."""
    other = MemoryBus(log, "two")
    first, second = await bus.join("g", "t"), await other.join("g", "t")
    await eventually(lambda: len(first.assigned) == len(second.assigned) == 1)
    partition = min(first.assigned)
    log.group("g", "t").share(partition)
    await eventually(lambda: second.assigned == {0, 1})

    assert await first.confirm(partition)
    assert await second.confirm(partition)


async def test_a_frozen_member_rejoins_after_its_eviction(log: MemoryLog, bus: MemoryBus) -> None:
    """Thawed it still believes in its assignment, is not confirmed, and is assigned again later."""
    other = MemoryBus(log, "two")
    first = await bus.join("g", "t")
    await first.changed()
    bus.process.freeze()
    second = await other.join("g", "t")
    assert await second.changed() == {0, 1}
    bus.process.thaw()

    assert first.assigned == {0, 1}
    assert not await first.confirm(0)
    assert len(await first.changed()) == 1


async def test_the_same_seed_gives_the_same_log() -> None:
    """Fates and delays come from the passed source of randomness only."""

    async def run(seed: int) -> list[int]:
        log = MemoryLog(random.Random(seed))
        log.add_topic("t", 1, {})
        log.faults.refuse = log.faults.repeat = 0.3
        producer = await MemoryBus(log, "p").producer("p")
        offsets = []
        for _ in range(30):
            try:
                offsets.append(await producer.append("t", 0, ONE, timeout_s=1))
            except AppendRefused:
                offsets.append(-1)
        return offsets

    assert await run(3) == await run(3)
    assert await run(3) != await run(4)


async def test_retention_moves_the_first_offset(log: MemoryLog, bus: MemoryBus) -> None:
    """A read from before it starts with what is kept."""
    await (await bus.producer("p")).append("t", 0, ONE * 5, timeout_s=1)
    log.partition("t", 0).truncate(3)

    assert await bus.bounds("t", 0) == (3, 5)
    assert [r.offset async for chunk in bus.read("t", 0, 0, 5) for r in chunk] == [3, 4]
