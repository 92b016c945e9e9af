"""Admission to a replica: bounded, first come first served, refused at once when full."""

from __future__ import annotations

import asyncio

import pytest

from deployments.pool.slots import Slots
from models.errors import ReplicaBusy


async def test_takes_as_many_as_there_are_slots() -> None:
    """Free slots are given at once and counted."""
    slots = Slots(slots=2, max_queue=0)

    await slots.take()
    await slots.take()

    assert (slots.in_service, slots.queued) == (2, 0)


async def test_refuses_what_neither_runs_nor_waits() -> None:
    """With the slots taken and the queue full, the next call is refused without waiting."""
    slots = Slots(slots=1, max_queue=1)
    await slots.take()
    waiting = asyncio.create_task(slots.take())
    await asyncio.sleep(0)

    with pytest.raises(ReplicaBusy, match="1 calls run and 1 wait"):
        await slots.take()

    slots.free()
    await waiting
    assert (slots.in_service, slots.queued) == (1, 0)


async def test_serves_the_queue_in_order() -> None:
    """Those who wait get slots in the order in which they came."""
    slots = Slots(slots=1, max_queue=3)
    await slots.take()
    served: list[int] = []

    async def caller(number: int) -> None:
        await slots.take()
        served.append(number)
        slots.free()

    callers = [asyncio.create_task(caller(number)) for number in range(3)]
    await asyncio.sleep(0)
    slots.free()
    await asyncio.gather(*callers)

    assert served == [0, 1, 2]


async def test_a_cancelled_wait_leaves_the_queue() -> None:
    """Whoever gives up while waiting makes room and takes no slot."""
    slots = Slots(slots=1, max_queue=1)
    await slots.take()
    waiting = asyncio.create_task(slots.take())
    await asyncio.sleep(0)

    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    assert (slots.in_service, slots.queued) == (1, 0)
    slots.free()
    await slots.take()
    assert slots.in_service == 1
