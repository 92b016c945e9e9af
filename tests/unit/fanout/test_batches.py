"""Who gets the loop while a worker renders."""

from __future__ import annotations

import asyncio

import pytest

from deployments.fanout.batches import Turns


async def order(users: int) -> list[str]:
    """What happened in which order, when four partitions render so many users and the first wakes another
    task.
    """
    turns, woken, seen = Turns(), asyncio.Event(), list[str]()

    async def partition(name: str) -> None:
        await turns.take(users)
        seen.append(name)
        woken.set()

    async def sender() -> None:
        await woken.wait()
        seen.append("sent")

    await asyncio.gather(sender(), *(partition(name) for name in "abcd"))
    return seen


@pytest.mark.asyncio
async def test_a_large_slot_lets_others_work_before_it_is_all_rendered() -> None:
    """What the first partition wakes does not wait for the last, and the order stays."""
    seen = await order(users=400)
    assert seen.index("sent") < seen.index("d")
    assert [name for name in seen if name != "sent"] == ["a", "b", "c", "d"]


@pytest.mark.asyncio
async def test_a_small_slot_is_rendered_in_one_go() -> None:
    """So all its batches wait together when the sender looks."""
    assert await order(users=4) == ["a", "b", "c", "d", "sent"]


class Passes:
    """Counts the passes of the loop."""

    def __init__(self) -> None:
        self.count = 0
        self._counting = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(0)
            self.count += 1

    def stop(self) -> None:
        self._counting.cancel()


@pytest.mark.asyncio
async def test_many_small_slots_do_not_add_up() -> None:
    """Each pass of the loop begins a new turn."""
    turns, passes = Turns(), Passes()
    for _ in range(20):
        await asyncio.sleep(0)
        before = passes.count
        await turns.take(100)
        assert passes.count == before, "a turn that fits waits for nobody"
    passes.stop()


@pytest.mark.asyncio
async def test_a_backlog_of_small_slots_takes_as_few_passes_as_their_users_need() -> None:
    """Once partitions wait for turns, they still share them: 24 of them with 50 slots of two users each."""
    turns, passes = Turns(), Passes()

    async def partition() -> None:
        await turns.take(400)
        for _ in range(50):
            await turns.take(2)

    await asyncio.gather(*(partition() for _ in range(24)))
    passes.stop()
    assert passes.count < 24 * (400 + 50 * 2) / 500 * 2
