"""Admission to a worker: bounded, first come first served, refused at once when full."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.router.execution.slots import Slots
from models.errors import ReplicaBusy


def test_a_run_takes_one_slot_for_all_its_calls() -> None:
    """Calls that run together are counted as calls and occupy one slot."""
    slots = Slots[str](slots=2, max_queue=0)
    slots.join("a")
    slots.join("b")

    slots.take(["a", "b"])

    assert (slots.in_service, slots.queued, slots.available) == (2, 0, True)
    slots.free(["a", "b"])
    assert slots.in_service == 0


def test_refuses_what_neither_runs_nor_waits() -> None:
    """With the slots taken and the queue full, the next call is refused without waiting."""
    slots = Slots[str](slots=1, max_queue=1)
    slots.join("runs")
    slots.take(["runs"])
    slots.join("waits")

    with pytest.raises(ReplicaBusy, match="1 calls run and 1 wait"):
        slots.join("refused")

    assert list(slots.waiting) == ["waits"]


def test_who_gives_up_makes_room() -> None:
    """A call that leaves the queue takes no slot, and leaving twice changes nothing."""
    slots = Slots[str](slots=1, max_queue=1)
    slots.join("runs")
    slots.take(["runs"])
    slots.join("gives up")

    slots.leave("gives up")
    slots.leave("gives up")

    slots.join("next")
    assert list(slots.waiting) == ["next"]


@given(
    slots=st.integers(1, 4),
    max_queue=st.integers(0, 4),
    steps=st.lists(st.sampled_from(["join", "take", "free"]), max_size=60),
)
def test_never_more_than_the_bounds(slots: int, max_queue: int, steps: list[str]) -> None:
    """Whatever happens: no more runs than slots, no more in the queue than it holds, and nobody is lost."""
    queue, running, let_in, ended = Slots[int](slots=slots, max_queue=max_queue), list[list[int]](), 0, 0
    for number, step in enumerate(steps):
        if step == "join":
            try:
                queue.join(number)
                let_in += 1
            except ReplicaBusy:
                assert queue.queued >= max_queue
        elif step == "take" and queue.available and queue.waiting:
            running.append([queue.waiting[0]])
            queue.take(running[-1])
        elif step == "free" and running:
            queue.free(running.pop())
            ended += 1

        assert queue.available == (len(running) < slots)
        assert queue.queued <= max_queue + slots - len(running)
        assert let_in == ended + queue.in_service + queue.queued
