"""What is known of where each tenant has written, and what holds while nothing is."""

from __future__ import annotations

from storage.memory import MemoryFastStore
from storage.postgres.positions import DOUBT_S, EVERYBODY, KEPT_S, NOWHERE, Positions


class Clock:
    """Seconds, and nanoseconds for the store, moved by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def ns(self) -> int:
        return int(self.now_s * 1e9)


async def _wrote(positions: Positions, tenant: str, position: int) -> None:
    await positions.wrote(tenant, position, positions.doubt(tenant))


async def test_a_write_is_known_to_its_tenant_and_to_who_reads_all() -> None:
    """And to nobody else."""
    positions = Positions(None, Clock())

    await _wrote(positions, "acme", 70)

    assert [await positions.of(name) for name in ("acme", EVERYBODY, "bolt")] == [70, 70, 0]


async def test_a_write_is_known_to_another_process_through_the_store() -> None:
    """Which goes by the later of what it wrote itself and what it is told."""
    clock = Clock()
    store = MemoryFastStore(clock.ns)
    one, other = Positions(store, clock), Positions(store, clock)

    await _wrote(one, "acme", 70)
    assert await other.of("acme") == 70
    await _wrote(other, "acme", 90)
    await _wrote(one, "acme", 80)

    assert await other.of("acme") == 90


async def test_no_replica_has_a_write_that_is_under_way() -> None:
    """Until it is told where it lies; one that was cancelled on the way is forgotten after a while."""
    clock = Clock()
    positions = Positions(None, clock)

    first, second = positions.doubt("acme"), positions.doubt("acme")
    positions.doubt("bolt")
    await positions.wrote("acme", 70, second)
    assert await positions.of("acme") == NOWHERE
    await positions.wrote("acme", 60, first)

    assert await positions.of("acme") == 70
    assert await positions.of("bolt") == NOWHERE
    clock.now_s += DOUBT_S + 1
    assert await positions.of("bolt") == 0


async def test_what_is_older_than_any_replica_that_is_asked_is_forgotten() -> None:
    """By time, and by number."""
    clock = Clock()
    positions = Positions(None, clock, capacity=4)

    await _wrote(positions, "acme", 70)
    clock.now_s += KEPT_S + 1
    assert await positions.of("acme") == 0
    for number in range(10):
        await _wrote(positions, f"tenant-{number}", number + 1)

    assert await positions.of("tenant-0") == 0
    assert await positions.of("tenant-9") == 10
