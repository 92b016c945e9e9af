"""Intervals that one may look at all the time: how often they mislead, and that they do find differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from statistics import NormalDist, fmean, variance

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.trials.confidence import Moments, difference, half_width

Draw = Callable[[Random], float]
RUNS, LOOKS, FIRST = 120, 1_200, 100
ALPHA = 0.05


def met(share: float) -> Draw:
    """A promise that is kept with this probability."""
    return lambda rng: float(rng.random() < share)


def completion(mean_ms: float) -> Draw:
    """An exponential completion."""
    return lambda rng: rng.expovariate(1.0 / mean_ms)


def first_alarm(rng: Random, control: Draw, treatment: Draw, *, naive: bool = False) -> int | None:
    """The first look, of one after every observation, at which zero is outside; None if it never is."""
    arms = Moments(), Moments()
    for look in range(LOOKS):
        arm = rng.random() < 0.5
        arms[arm].add((treatment if arm else control)(rng))
        if min(arms[0].n, arms[1].n) >= FIRST and _outside(*arms, naive=naive):
            return look
    return None


def _outside(control: Moments, treatment: Moments, *, naive: bool) -> bool:
    found = difference(control, treatment, alpha=ALPHA, narrowest_at=500)
    assert found
    if naive:
        error = math.sqrt(control.variance / control.n + treatment.variance / treatment.n)
        return abs(found.difference) > NormalDist().inv_cdf(1 - ALPHA / 2) * error
    return found.lower > 0.0 or found.upper < 0.0


@pytest.mark.parametrize("draw", [met(0.9), met(0.99), completion(10.0)])
def test_looking_all_the_time_misleads_no_more_often_than_promised(draw: Draw) -> None:
    """Two arms without a difference, looked at after every single request."""
    alarms = [first_alarm(Random(seed), draw, draw) for seed in range(RUNS)]

    assert sum(alarm is not None for alarm in alarms) / RUNS <= ALPHA


def test_the_usual_interval_would_mislead_far_more_often() -> None:
    """What the test above guards against can be seen by it."""
    draw = completion(10.0)
    alarms = [first_alarm(Random(seed), draw, draw, naive=True) for seed in range(40)]

    assert sum(alarm is not None for alarm in alarms) / 40 > 3 * ALPHA


@pytest.mark.parametrize(
    ("control", "treatment"), [(met(0.95), met(0.8)), (completion(10.0), completion(15.0))]
)
def test_a_difference_is_found_before_the_end(control: Draw, treatment: Draw) -> None:
    """In nine runs out of ten at least."""
    alarms = [first_alarm(Random(seed), control, treatment) for seed in range(40)]

    assert sum(alarm is not None for alarm in alarms) >= 36


def test_the_interval_is_narrowest_where_it_was_told_to() -> None:
    """Compared with the interval of a fixed sample it costs less than twice the width there."""
    fixed = NormalDist().inv_cdf(0.975) / math.sqrt(10_000)
    tuned = half_width(10_000, 1.0, alpha=0.05, narrowest_at=10_000)
    others = [half_width(10_000, 1.0, alpha=0.05, narrowest_at=n) for n in (100, 1_000, 1_000_000)]

    assert fixed < tuned < 2 * fixed
    assert tuned < min(others)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50))
def test_moments_are_those_of_the_values(values: list[float]) -> None:
    """Mean and sample variance, as of the whole list at once."""
    moments = Moments()
    for value in values:
        moments.add(value)

    assert moments.mean == pytest.approx(fmean(values), abs=1e-6)
    assert moments.variance == pytest.approx(variance(values), rel=1e-6, abs=1e-3)


def test_one_observation_says_nothing() -> None:
    """There is no interval before there is a variance."""
    one, two = Moments(), Moments()
    one.add(1.0)
    two.add(1.0)
    two.add(2.0)

    assert difference(one, two, alpha=0.05, narrowest_at=100) is None
