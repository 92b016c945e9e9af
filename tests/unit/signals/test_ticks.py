"""Tick sequences: lost, late and repeated ticks are seen and counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from signals.ticks import TickOrder, TickSequence


def observed(seqs: list[int], session: str = "a") -> tuple[TickSequence, list[TickOrder]]:
    """The sequence after these numbers, and what it said to each."""
    sequence = TickSequence()
    return sequence, [sequence.observe(session, seq) for seq in seqs]


def test_a_gap_is_seen_at_the_next_tick() -> None:
    """The tick after a gap says so, and the lost ones are counted."""
    sequence, orders = observed([1, 2, 5])

    assert orders == [TickOrder.IN_ORDER, TickOrder.IN_ORDER, TickOrder.AFTER_GAP]
    assert sequence.missing == 2


def test_a_late_tick_is_no_longer_missing() -> None:
    """It is counted as late, and a second copy as a duplicate."""
    sequence, orders = observed([1, 4, 2, 2])

    assert orders[2:] == [TickOrder.LATE, TickOrder.DUPLICATE]
    assert (sequence.missing, sequence.late, sequence.duplicates) == (1, 1, 1)


def test_a_tick_lost_at_the_end_is_seen_at_the_clock() -> None:
    """The clock names the last number sent."""
    sequence, _ = observed([1, 2])

    assert sequence.observe_clock("a", 2) == 0
    assert sequence.observe_clock("a", 5) == 3
    assert sequence.observe_clock("a", 5) == 0
    assert sequence.observe("a", 4) == TickOrder.LATE
    assert sequence.missing == 2


def test_joining_in_the_middle_is_no_gap_but_a_new_session_begins_at_one() -> None:
    """What came before a consumer joined is not lost; what a new session sent before is."""
    sequence, orders = observed([500])
    assert (orders, sequence.missing) == ([TickOrder.IN_ORDER], 0)

    assert sequence.observe("b", 3) == TickOrder.AFTER_GAP
    assert (sequence.missing, sequence.sessions) == (2, 2)


def test_a_clock_before_the_first_tick_sets_the_beginning() -> None:
    """A consumer that joins between ticks counts from the clock's number."""
    sequence = TickSequence()

    assert sequence.observe_clock("a", 7) == 0
    assert sequence.observe("a", 9) == TickOrder.AFTER_GAP
    assert sequence.missing == 1


@given(st.lists(st.integers(1, 30), max_size=40))
def test_counts_agree_with_sets(seqs: list[int]) -> None:
    """Missing, late and duplicate counts agree with a count over the whole history."""
    sequence, orders = observed([1, *seqs])

    seen = {1, *seqs}
    assert max(seen) - len(seen) == sequence.missing
    assert len(seqs) + 1 - len(seen) == sequence.duplicates == orders.count(TickOrder.DUPLICATE)
