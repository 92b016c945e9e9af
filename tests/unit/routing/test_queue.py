"""How busy a replica is believed: own calls exactly, others' as heard, relaxing to what is usual."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.beliefs.queue import MOST_CALLS, Queue, ReportOrder
from tests.unit.routing.worlds import a_report

TAU_MS = 300.0
events = st.one_of(
    st.just("sent"),
    st.just("ended"),
    st.just("refused"),
    st.builds(
        lambda **changes: a_report("a", **changes),
        boot=st.sampled_from("ab"),
        seq=st.integers(-1, 20),
        queued=st.integers(-2, 9),
        in_service=st.integers(-2, 9),
        slots=st.integers(-1, 9),
    ),
)


def a_queue(slots: int = 2) -> Queue:
    """The queue of a replica not heard of."""
    return Queue(slots, tau_ms=TAU_MS)


def test_reports_count_only_forwards() -> None:
    """A reordered report, or one of a former boot, changes nothing; a new boot counts from its first."""
    order = ReportOrder()

    assert order.accepts("first", 5)
    assert not order.accepts("first", 4)
    assert not order.accepts("first", 5)
    assert order.accepts("second", 1)
    assert not order.accepts("first", 6)
    assert order.accepts("second", 2)


def test_own_calls_are_taken_out_of_a_report() -> None:
    """Of seven calls that a replica holds three are ours; the rest is foreign, and never less than none."""
    queue = a_queue()
    for _ in range(3):
        queue.add_own(+1)

    assert queue.hear(a_report("a", seq=1, queued=5, in_service=2), 0.0)
    assert (queue.own, queue.foreign(0.0, 0.0)) == (3, 4.0)
    assert queue.hear(a_report("a", seq=2, queued=0, in_service=1), 0.0)
    assert queue.foreign(0.0, 0.0) == 0.0


@pytest.mark.parametrize("usual", [0.0, 2.0, 9.0])
def test_what_was_heard_relaxes_to_what_is_usual(usual: float) -> None:
    """Nobody says when a foreign call ends: after tau exp(-1) of the difference to the usual is left."""
    queue = a_queue()
    queue.hear(a_report("a", queued=4, in_service=2), 1000.0)

    assert queue.foreign(1000.0, usual) == pytest.approx(6.0)
    assert queue.foreign(1000.0 + TAU_MS, usual) == pytest.approx(usual + (6.0 - usual) * math.exp(-1))
    assert queue.foreign(1e9, usual) == pytest.approx(usual)


def test_slots_are_those_last_reported() -> None:
    """A replica that was scaled up or down says so."""
    queue = a_queue(2)
    queue.hear(a_report("a", slots=5), 0.0)

    assert queue.slots == 5.0


@pytest.mark.parametrize(
    "absurd",
    [
        {"queued": -1},
        {"in_service": -1, "queued": 2},
        {"queued": MOST_CALLS + 1},
        {"slots": 0},
        {"slots": -2},
        {"slots": MOST_CALLS + 1},
        {"seq": -1},
    ],
)
def test_absurd_report_is_no_news(absurd: dict[str, Any]) -> None:
    """It changes nothing, and does not stand in the way of a sound one with the same number."""
    queue = a_queue()

    assert not queue.hear(a_report("a", **absurd), 0.0)
    assert queue.export() == a_queue().export()
    assert queue.hear(a_report("a", seq=0, queued=3), 0.0)


def test_refusal_means_full_but_never_emptier() -> None:
    """Without a report every slot is believed taken by others; a longer queue that was heard of stays."""
    idle, busy = a_queue(3), a_queue(3)
    idle.assume_full(0.0, 0.0)
    busy.hear(a_report("a", queued=9, slots=3), 0.0)
    busy.assume_full(0.0, 0.0)

    assert (idle.foreign(0.0, 0.0), busy.foreign(0.0, 0.0)) == (3.0, 9.0)


@given(st.lists(events, max_size=40))
def test_counts_are_sound_whatever_is_told(told: list[Any]) -> None:
    """Calls and slots stay finite and sensible, and a queue brought back from JSON says the same."""
    queue = a_queue()
    for step, event in enumerate(told):
        if event == "sent":
            queue.add_own(+1)
        elif event == "ended":
            queue.add_own(-1)
        elif event == "refused":
            queue.assume_full(step * 10.0, 1.0)
        else:
            queue.hear(event, step * 10.0)
        assert queue.own >= 0
        assert 0.0 <= queue.foreign(step * 10.0, 0.0) <= MOST_CALLS
        assert 1.0 <= queue.slots <= MOST_CALLS

    other = a_queue()
    other.restore(json.loads(json.dumps(queue.export())))
    assert other.export() == queue.export()
    assert other.foreign(1e4, 0.5) == queue.foreign(1e4, 0.5)
