"""What is kept of promises: nothing is changed where they are right, and what is off is put right."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.beliefs.reliability import RIGHT, Reliability
from routing.latency import Ratios

shares = st.floats(0.0, 1.0)


@given(shares)
def test_promises_are_right_until_something_else_is_known(promised: float) -> None:
    """Without a call the map is the identity."""
    assert RIGHT.kept(promised) == pytest.approx(promised)


@given(st.lists(st.tuples(shares, st.booleans()), max_size=50), shares, shares)
def test_more_promised_is_never_less_kept(calls: list[tuple[float, bool]], one: float, other: float) -> None:
    """Whatever was seen, the map rises from 0 to 1."""
    reliability = RIGHT
    for quicker, ended in calls:
        reliability = reliability.seen(quicker, ended=ended)
    low, high = sorted((one, other))

    assert 0.0 <= reliability.kept(low) <= reliability.kept(high) + 1e-12 <= 1.0 + 1e-9


@pytest.mark.parametrize("given_up", [False, True])
def test_promises_that_are_too_good_are_put_right(*, given_up: bool) -> None:
    """Completions of which only half as many as promised are in time; late ones may be given up unseen."""
    rng, reliability = Random(1), RIGHT
    for _ in range(8000):
        quicker, deadline = rng.random() ** 0.5, rng.random()
        late = given_up and quicker > deadline
        reliability = reliability.seen(deadline if late else quicker, ended=not late)

    for promised in (0.3, 0.5, 0.8):
        assert reliability.kept(promised) == pytest.approx(promised**2, abs=0.04)


def test_a_call_given_up_is_not_a_quick_one() -> None:
    """Were only those in time known, every promise would be too good: half of these are given up."""
    rng, ratios = Random(2), Ratios(0.5, level=0.95)
    for _ in range(3000):
        took = rng.expovariate(1.0)
        ratios.observe(took) if took < 0.7 else ratios.observe_beyond(0.7)

    assert ratios.spread.share_within(0.7) == pytest.approx(1 - 2.718281828**-0.7, abs=0.05)


def test_what_is_exported_is_the_same_again() -> None:
    """For a replay to promise the same, to the last bit."""
    reliability = RIGHT.seen(0.3, ended=True).seen(0.9, ended=False)

    again = Reliability.restored(reliability.export())

    assert [again.kept(p / 7) for p in range(8)] == [reliability.kept(p / 7) for p in range(8)]
