"""The counting rule against a clock in the test's hands (scorecard row S7)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from storage.memory import MemoryFastStore
from storage.ports import Bucket, Key, Rate


class Clock:
    """Wall time in nanoseconds that moves when told."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000_000_000_000

    def __call__(self) -> int:
        return self.now_ns

    def move(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)


def _bucket(amount: int, period_s: int) -> Bucket:
    return Bucket(Key("tenant", "rate", "user"), Rate(amount, period_s))


@given(
    amount=st.integers(1, 50),
    period_s=st.integers(1, 3600),
    gaps=st.lists(st.floats(0, 2), min_size=1, max_size=200),
)
async def test_never_admits_more_than_burst_plus_rate_times_time(
    amount: int, period_s: int, gaps: list[float]
) -> None:
    """Over any span from any admitted call: admitted <= amount + span / interval, whatever the arrivals."""
    clock = Clock()
    store = MemoryFastStore(clock)
    admitted_ns: list[int] = []
    for gap in gaps:
        clock.move(gap * period_s / amount)
        if (await store.take([_bucket(amount, period_s)])).allowed:
            admitted_ns.append(clock.now_ns)

    interval_ns = period_s * 10**6 // amount * 1000
    for start in range(len(admitted_ns)):
        span = admitted_ns[-1] - admitted_ns[start]
        assert len(admitted_ns) - start <= amount + span / interval_ns + 1e-3


async def test_admits_all_that_the_rate_allows() -> None:
    """Ten minutes of asking ten times too often at 60 a minute: the burst, and then one a second."""
    clock = Clock()
    store = MemoryFastStore(clock)
    admitted = 0
    for _ in range(6000):
        admitted += (await store.take([_bucket(60, 60)])).allowed
        clock.move(0.1)

    assert admitted == 60 + 600 - 1


async def test_no_double_burst_at_a_window_edge() -> None:
    """All calls just before the minute ends leave none for just after it."""
    clock = Clock()
    store = MemoryFastStore(clock)
    clock.move(59.9)
    before = [await store.take([_bucket(100, 60)]) for _ in range(100)]
    clock.move(0.2)
    after = [await store.take([_bucket(100, 60)]) for _ in range(100)]

    assert sum(grant.allowed for grant in before) == 100
    assert sum(grant.allowed for grant in after) == 0


async def test_a_clock_that_steps_back_locks_nobody_out() -> None:
    """After a step of one hour back a call passes again within one interval, not after an hour."""
    clock = Clock()
    store = MemoryFastStore(clock)
    for _ in range(10):
        await store.take([_bucket(10, 60)])
    clock.move(-3600)

    assert not (await store.take([_bucket(10, 60)])).allowed
    clock.move(6)
    assert (await store.take([_bucket(10, 60)])).allowed


async def test_the_oldest_entries_make_room() -> None:
    """A store that is full forgets what was written longest ago, values and counters alike."""
    store = MemoryFastStore(Clock(), capacity=2)
    for number in range(3):
        await store.put(Key("tenant", "value", str(number)), b"1", ttl_s=60)
        await store.take([Bucket(Key("tenant", "rate", str(number)), Rate(1, 60))])

    kept = [await store.get(Key("tenant", "value", str(number))) for number in range(3)]
    assert kept == [None, b"1", b"1"]
    first = await store.take([Bucket(Key("tenant", "rate", "0"), Rate(1, 60))])
    last = await store.take([Bucket(Key("tenant", "rate", "2"), Rate(1, 60))])
    assert (first.allowed, last.allowed) == (True, False)
