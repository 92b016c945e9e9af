"""The program behind the overload benchmark: same seed, same tally, and the door makes the difference."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.overload_pool import MAX_QUEUE, SLOTS, Replica, Setting, Tally, offered
from models.errors import ReplicaBusy
from models.request import Priority
from tests.support.virtual_loop import later, run_virtual

SETTING = Setting(2.0, 6.0, replicas=3, seed=1)
WITHOUT = Setting(2.0, 6.0, replicas=3, seed=1, admission=False)


def test_tally_counts_answers_in_time() -> None:
    """Goodput is a second, shares are of the class."""
    tally = Tally(2.0)
    for end in ("met", "met", "late", "shed"):
        tally.add(Priority.CRITICAL, end)
    tally.add(Priority.BULK, "met")

    assert tally.goodput_per_s == 1.5
    assert tally.met(Priority.CRITICAL) == 0.5


def test_at_twice_the_capacity_the_door_saves_what_is_critical() -> None:
    """Nearly all critical requests with it, few without; and a run is what its seed says."""
    ours, again, peer = (run_virtual(offered(setting)) for setting in (SETTING, SETTING, WITHOUT))

    assert ours == again
    assert ours.met(Priority.CRITICAL) >= 0.98
    assert peer.met(Priority.CRITICAL) <= 0.5


def test_replica_serves_as_many_as_it_has_slots_and_frees_what_gives_up() -> None:
    """First come, first served; a call that is cancelled while it waits leaves no gap."""

    async def scene() -> list[float]:
        loop, replica, ended = asyncio.get_running_loop(), Replica("r"), []

        async def call() -> None:
            await replica.answer(100.0)
            ended.append(round(loop.time(), 3))

        calls = [asyncio.create_task(call()) for _ in range(2 * SLOTS + 1)]
        await later(0.05)
        calls[SLOTS].cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        return ended

    assert run_virtual(scene()) == [0.1] * SLOTS + [0.2] * SLOTS


def test_replica_refuses_when_its_queue_is_full() -> None:
    """One more than slots and queue is one too many."""

    async def scene() -> None:
        replica = Replica("r")
        calls = [asyncio.create_task(replica.answer(1.0)) for _ in range(SLOTS + MAX_QUEUE)]
        await asyncio.sleep(0)
        with pytest.raises(ReplicaBusy):
            await replica.answer(1.0)
        await asyncio.gather(*calls)

    run_virtual(scene())
