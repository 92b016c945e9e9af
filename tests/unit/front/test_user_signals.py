"""A user's own signals out of the log: from the right mark, by the reader's rules, in bounded reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from random import Random

import pytest

from deployments.front.user_signals import Stretch, UserSignals
from messaging.marks import SignalMarks
from messaging.memory import MemoryBus
from messaging.ports import LogRecord
from messaging.topics import SIGNALS
from models.events import MARK_EVERY, MARKS_KEPT
from tests.unit.front.signal_log import ALICE, NEIGHBOURS, SignalLog, principal


class CountingBus(MemoryBus):
    """Counts the records of `user.signals` that are read."""

    records_read = 0

    async def read(
        self, topic: str, partition: int, start: int, stop: int
    ) -> AsyncGenerator[list[LogRecord], None]:
        async for records in super().read(topic, partition, start, stop):
            self.records_read += len(records) * (topic == SIGNALS.name)
            yield records


def sequences(stretch: Stretch) -> list[int]:
    """What was found."""
    return [found.head.sequence for found in stretch.found]


def many(log: SignalLog, upto: int) -> None:
    """So many signals of alice, with two neighbours' between them."""
    log.claim()
    for sequence in range(1, upto + 1):
        for user in (NEIGHBOURS[0], ALICE, NEIGHBOURS[1]):
            log.signal(sequence, user)


async def read(log: SignalLog, since_seq: int, limit: int = 1000, *, max_scan: int = 20_000) -> Stretch:
    """One read as alice."""
    bus = log.bus
    return await UserSignals(bus, SignalMarks(bus), max_scan=max_scan).read(
        principal(), since_seq, limit=limit
    )


@pytest.mark.parametrize("since", [0, 1, MARK_EVERY - 1, MARK_EVERY, MARK_EVERY + 1, 5 * MARK_EVERY + 7])
async def test_what_follows_a_sequence_is_read_from_the_mark_before_it(since: int) -> None:
    """Nothing is missing, and at most one interval of marks is read in vain."""
    log = SignalLog()
    many(log, 6 * MARK_EVERY)
    bus = CountingBus(log.log, "reader")

    stretch = await UserSignals(bus, SignalMarks(bus), max_scan=10**6).read(principal(), since, limit=5)

    assert (sequences(stretch), stretch.complete) == ([since + 1 + n for n in range(5)], True)
    assert stretch.next.offset - stretch.found[0].record.offset < 3 * 5
    start = stretch.found[0].record.offset - 3 * MARK_EVERY
    assert bus.records_read <= log.log.partition(SIGNALS.name, stretch.found[0].record.partition).end - start


async def test_reads_follow_each_other_without_gap_or_repeat() -> None:
    """Whatever the size of a read, `next` leads through all there is, however sparse the user is."""
    log, rng = SignalLog(), Random(5)
    log.claim()
    for sequence in range(1, 80):
        for _ in range(rng.randrange(12)):
            log.signal(sequence * 100 + rng.randrange(100), rng.choice(NEIGHBOURS))
        log.signal(sequence)
    bus = log.bus
    signals = UserSignals(bus, SignalMarks(bus), max_scan=7)

    stretch = await signals.read(principal(), 0, limit=3)
    found = sequences(stretch)
    while not stretch.reached_end:
        stretch = await signals.read(principal(), found[-1] if found else 0, limit=3, at=stretch.next)
        found += sequences(stretch)

    assert found == list(range(1, 80))


async def test_a_read_from_a_mark_knows_the_claim_before_it() -> None:
    """A fenced writer's late copy lies behind the mark; without its claim it would count."""
    log = SignalLog()
    old = log.claim()
    log.claim()
    for sequence in range(1, MARK_EVERY + 2):
        log.signal(sequence)
    log.signal(MARK_EVERY + 2, epoch=old, reason="void")
    log.signal(MARK_EVERY + 2)

    stretch = await read(log, MARK_EVERY)

    assert sequences(stretch) == [MARK_EVERY + 1, MARK_EVERY + 2]
    assert b'"void"' not in (stretch.found[-1].record.value or b"")


async def test_a_later_read_still_knows_it() -> None:
    """`next` carries the claim over."""
    log = SignalLog()
    old = log.claim()
    log.claim()
    log.signal(1)
    log.signal(2, epoch=old)
    log.signal(2)
    bus = log.bus
    signals = UserSignals(bus, SignalMarks(bus))

    first = await signals.read(principal(), 0, limit=1)
    rest = await signals.read(principal(), 1, limit=9, at=first.next)

    assert [found.head.epoch for found in rest.found] == [log.epoch]


async def test_marks_that_are_not_true_are_not_followed() -> None:
    """Of another user, of another sequence, beyond the end: then the read begins as if there were none."""
    log = SignalLog()
    log.claim()
    theirs = log.signal(1, NEIGHBOURS[0])
    log.signal(1)
    log.signal(2)
    log.checkpoint(log.epoch)
    for offset in (theirs, theirs + 2, 10_000):
        log.mark(ALICE, 1, offset)
        assert sequences(await read(log, 0)) == [1, 2]


async def test_without_marks_the_end_of_the_log_is_read_with_the_checkpoints_claims() -> None:
    """Incomplete unless that reaches back to what was asked for."""
    log = SignalLog()
    old = log.claim()
    log.claim()
    for sequence in range(1, 11):
        log.signal(sequence)
    log.signal(11, epoch=old)
    log.forget_marks()
    log.checkpoint(old, log.epoch)

    few = await read(log, 2, max_scan=5)
    assert (sequences(few), few.complete) == ([7, 8, 9, 10], False)
    enough = await read(log, 6, max_scan=5)
    assert (sequences(enough), enough.complete) == ([7, 8, 9, 10], True)


async def test_without_marks_and_checkpoints_it_is_read_from_its_beginning() -> None:
    """Where no claim is needed; in pieces all the same."""
    log = SignalLog()
    many(log, 10)
    log.forget_marks()

    stretch = await read(log, 0, max_scan=10)

    assert (sequences(stretch), stretch.complete, stretch.reached_end) == ([1, 2, 3], True, False)


async def test_what_retention_or_the_ring_has_taken_is_told() -> None:
    """The oldest signals there are, and `complete` false, because older ones may be missing."""
    log = SignalLog()
    log.claim()
    places = [log.signal(sequence) for sequence in range(1, MARK_EVERY * (MARKS_KEPT + 2), MARK_EVERY)]
    ring = await read(log, 0, limit=1, max_scan=2)
    assert (sequences(ring), ring.complete) == ([2 * MARK_EVERY + 1], False)

    log.expire_before(places[-2])
    kept = await read(log, 0, limit=1)
    assert (sequences(kept), kept.complete) == ([MARK_EVERY * MARKS_KEPT + 1], False)


async def test_a_first_mark_that_was_never_written_hides_nothing() -> None:
    """Who should have written it died; the log is short enough to be read from its beginning."""
    log = SignalLog()
    log.claim()
    for sequence in range(1, MARK_EVERY * (MARKS_KEPT + 2), MARK_EVERY):
        log.signal(sequence)

    found = await read(log, 0, limit=3)

    assert (sequences(found), found.complete) == ([1, MARK_EVERY + 1, 2 * MARK_EVERY + 1], True)


async def test_a_user_of_the_same_name_in_another_tenant_sees_nothing() -> None:
    """The body's tenant must be the token's."""
    log = SignalLog()
    many(log, 2)
    bus = log.bus

    stretch = await UserSignals(bus, SignalMarks(bus)).read(principal(tenant="other"), 0, limit=9)

    assert stretch.found == []


async def test_one_signal_is_found_by_its_sequence_however_old() -> None:
    """Over several bounded reads if need be; not for a number that was never given."""
    log = SignalLog()
    many(log, 2 * MARK_EVERY)
    log.checkpoint(log.epoch)
    bus = log.bus
    signals = UserSignals(bus, SignalMarks(bus), max_scan=20)

    found = await signals.find(principal(), MARK_EVERY - 1)

    assert found
    assert (found.head.user_id, found.head.sequence) == (ALICE, MARK_EVERY - 1)
    assert await signals.find(principal(), 1000) is None
    assert sequences(await signals.latest(principal()))[-1] == 2 * MARK_EVERY


async def test_marks_are_read_once_for_all_who_ask_at_the_same_time() -> None:
    """A thousand sockets that come back at once do not fold the partition a thousand times."""
    log = SignalLog()
    many(log, MARK_EVERY)
    asked: list[str] = []

    class Asked(MemoryBus):
        async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
            asked.append(topic)
            return await super().bounds(topic, partition)

    marks = SignalMarks(Asked(log.log, "reader"))
    await asyncio.gather(*(marks.of(3) for _ in range(20)))

    assert asked == ["user.signal_state"]


async def test_the_partitions_asked_about_longest_ago_give_way() -> None:
    """What a process holds is bounded by users, not by how many ask."""
    log = SignalLog()
    many(log, 1)
    marks = SignalMarks(log.bus, most_users=2)
    partition = (await read(log, 0)).found[0].record.partition

    held = await marks.of(partition)
    other = await marks.of(partition + 1 if partition < 23 else 0)

    assert len(held) == 3
    assert await marks.of(partition) is not held
    assert len(other) == 0
