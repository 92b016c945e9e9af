"""What waits for its partition, and how long an answer may take: the pure part of the publisher."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.ports import Record
from messaging.publisher.pace import AckRate, RoundTrip
from messaging.publisher.queues import Pending, Place, QueueLimits, TenantQueues
from messaging.sizes import fitting, record_bytes
from models.errors import QueueFull

HERE = Place("t", 0)


def pending(tenant: str, number: int = 0, *, size: int = 100) -> Pending:
    """A record that nobody waits for."""
    record = Record(f"{tenant}-{number}".encode(), b"v" * size)
    outcome: asyncio.Future[int] = asyncio.Future(loop=_LOOP)
    return Pending(tenant, record, record_bytes(record), float(number), 10.0, outcome)


_LOOP = asyncio.new_event_loop()


def test_tenants_take_turns() -> None:
    """However much one has waiting, another's first record is in the next batch."""
    queues = TenantQueues(QueueLimits())
    for number in range(100):
        queues.add(HERE, pending("flood", number))
    for number in range(2):
        queues.add(HERE, pending("quiet", number))

    batch = queues.take(HERE, records=4, size=10_000)
    assert [item.tenant for item in batch] == ["flood", "quiet", "flood", "quiet"]


def test_a_tenant_is_bounded_by_records_and_by_bytes() -> None:
    """The refusal is of that tenant alone, until what it has is settled."""
    queues = TenantQueues(QueueLimits(tenant_records=2, tenant_bytes=1_000))
    first = pending("a")
    queues.add(HERE, first)
    queues.add(HERE, pending("a"))
    with pytest.raises(QueueFull) as refusal:
        queues.add(HERE, pending("a"))
    assert refusal.value.retry_after_s
    with pytest.raises(QueueFull):
        queues.add(HERE, pending("b", size=2_000))
    queues.take(HERE, records=1, size=10_000)
    with pytest.raises(QueueFull):
        queues.add(HERE, pending("a"))  # in flight is still pending
    queues.settled(first)
    queues.add(HERE, pending("a"))


def test_everybody_together_is_bounded_too() -> None:
    """Many tenants below their bounds do not fill the memory."""
    queues = TenantQueues(QueueLimits(total_bytes=1_000))
    for number in range(6):
        queues.add(HERE, pending(f"tenant-{number}"))
    with pytest.raises(QueueFull):
        queues.add(HERE, pending("one-more"))


def test_what_was_given_up_is_not_taken() -> None:
    """It is settled on the way and takes no room of the batch."""
    queues = TenantQueues(QueueLimits())
    items = [pending("a", number) for number in range(3)]
    for item in items:
        queues.add(HERE, item)
    items[0].outcome.cancel()

    assert queues.take(HERE, records=10, size=2 * items[0].size + 100) == items[1:]
    assert queues.depths() == {"a": 2}


def test_a_record_larger_than_a_batch_goes_alone() -> None:
    """It is never passed over for ever."""
    queues = TenantQueues(QueueLimits())
    large, small = pending("a", size=5_000), pending("a", 1)
    queues.add(HERE, large)
    queues.add(HERE, small)

    assert queues.take(HERE, records=10, size=1_000) == [large]
    assert queues.take(HERE, records=10, size=1_000) == [small]


@given(st.integers(0, 10**9))
def test_batches_hold_everything_once_in_order_and_within_bounds(seed: int) -> None:
    """Whatever was added comes out once, in its tenant's order; no batch is larger than asked for; a tenant
    that waits is in every batch that has room for one record of each.
    """
    rng = Random(seed)
    queues, expected = TenantQueues(QueueLimits()), Counter[str]()
    taken: dict[str, list[bytes]] = {}
    for step in range(60):
        if rng.random() < 0.7:
            tenant = rng.choice("abc")
            queues.add(HERE, pending(tenant, step, size=rng.randrange(300)))
            expected[tenant] += 1
            continue
        waiting = queues.depths()
        batch = queues.take(HERE, records=rng.randint(3, 9), size=1_200)
        assert fitting([item.record for item in batch], 1_200) == len(batch)
        assert set(waiting) == {item.tenant for item in batch}
        for item in batch:
            taken.setdefault(item.tenant, []).append(item.record.key)
            queues.settled(item)
    while batch := queues.take(HERE, records=9, size=1_200):
        for item in batch:
            taken.setdefault(item.tenant, []).append(item.record.key)
            queues.settled(item)

    assert {tenant: len(keys) for tenant, keys in taken.items()} == expected
    assert all(keys == sorted(keys, key=lambda key: int(key[2:])) for keys in taken.values())
    assert (len(queues), queues.depths(), queues.oldest_since_s()) == (0, {}, None)


def test_an_append_is_not_given_up_before_a_slow_answer_may_come() -> None:
    """The last caller's deadline decides, but within bounds that follow from the usual round trip."""
    trip = RoundTrip()
    for _ in range(50):
        trip.took(0.005)
    assert trip.bound_s(1.0) == 1.0
    assert trip.bound_s(0.001) == 0.5
    assert trip.bound_s(60.0) == 3.0
    for _ in range(50):
        trip.took(1.0)
    assert trip.bound_s(0.001) == pytest.approx(3.0, rel=0.01)
    assert trip.bound_s(60.0) == pytest.approx(10.0, rel=0.01)


def test_the_rate_is_of_the_last_whole_span() -> None:
    """And none once nothing was acknowledged for longer."""
    rate = AckRate(0.0)
    rate.add(50, 1.0)
    assert rate.per_s(4.9) == 0.0
    assert rate.per_s(5.1) == 10.0
    rate.add(5, 6.0)
    assert rate.per_s(10.5) == 1.0
    assert rate.per_s(99.0) == 0.0
