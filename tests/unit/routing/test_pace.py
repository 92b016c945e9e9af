"""The pace of one replica: learned steadily, relearned quickly, relaxed to the middle, retried ever less."""

from __future__ import annotations

import json
import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.beliefs.pace import LONGEST_DOUBLINGS, Pace, PaceConfig

CONFIG = PaceConfig()
START_MS = 1e12


def a_pace(*, middle: float = 1.0) -> Pace:
    """The pace of a replica that joined a cohort."""
    return Pace(CONFIG, middle=middle)


def observed(pace: Pace, true: float, now_ms: float, *, middle: float = 1.0, noise: float = 1.0) -> float:
    """Measure one call on a replica that is really so slow; returns the gain."""
    return pace.observe(true * noise / pace.held(now_ms, middle), 0.0, now_ms, middle)


def learned(true: float, *, calls: int = 1000) -> Pace:
    """A pace that saw so many calls at once."""
    pace = a_pace()
    for _ in range(calls):
        observed(pace, true, START_MS)
    return pace


@pytest.mark.parametrize("true", [0.3, 1.0, 5.0])
def test_steady_replica_is_known_precisely(true: float) -> None:
    """The estimate approaches the truth, and each further call counts for less."""
    pace = learned(true)

    assert pace.value == pytest.approx(true, rel=0.1)
    assert observed(pace, true, START_MS) < 0.02


def test_scatter_of_single_calls_is_averaged_out() -> None:
    """Exponential service times of the usual mean leave the pace near usual."""
    rng, pace = Random(3), a_pace()
    values = []
    for number in range(5000):
        observed(pace, 1.0, START_MS + number, noise=rng.expovariate(1.0))
        values.append(pace.value)

    settled = values[1000:]
    assert sum(settled) / len(settled) == pytest.approx(1.0, abs=0.05)
    assert sum(abs(value - 1.0) > 0.5 for value in settled) / len(settled) < 0.05


def test_change_is_relearned_within_a_few_calls() -> None:
    """One known precisely that turns five times slower is believed so after ten calls, and not for ever."""
    pace = learned(1.0)
    for number in range(10):
        observed(pace, 5.0, START_MS + 1000 + number)
    slow = pace.value
    for number in range(40):
        observed(pace, 1.0, START_MS + 1010 + number)

    assert slow == pytest.approx(5.0, rel=0.2)
    assert pace.value < 2.0


def test_what_may_be_chance_is_no_reason_to_prefer_one() -> None:
    """After one call the pace is believed less different from the middle than measured, on either side."""
    for true in (3.0, 0.3):
        pace = a_pace()
        observed(pace, true, START_MS)

        assert abs(pace.last(1.0) - 1.0) < abs(pace.value - 1.0)
        assert (pace.last(1.0) - 1.0) * (pace.value - 1.0) >= 0.0


@given(st.floats(0.01, 100.0), st.floats(0.01, 100.0), st.integers(1, 50))
def test_belief_lies_between_the_middle_and_the_estimate(true: float, middle: float, calls: int) -> None:
    """Whatever was measured, caution only moves the pace towards the middle and never beyond it."""
    pace = a_pace(middle=middle)
    for number in range(calls):
        observed(pace, true, START_MS + number, middle=middle)

    lowest, highest = sorted((middle, pace.value))
    assert lowest * (1 - 1e-9) <= pace.last(middle) <= highest * (1 + 1e-9)
    assert lowest * (1 - 1e-9) <= pace.at(START_MS + calls + 500, middle) <= highest * (1 + 1e-9)


def test_unmeasured_pace_relaxes_to_the_middle() -> None:
    """After tau exp(-1) of the difference is left, after long none; an age below zero is none."""
    pace, last_ms = learned(5.0), START_MS
    beyond = pace.at(last_ms, 1.0) - 1.0

    assert pace.at(last_ms + CONFIG.tau_ms, 1.0) - 1.0 == pytest.approx(beyond * math.exp(-1))
    assert pace.at(last_ms + 60_000, 1.0) == pytest.approx(1.0)
    assert pace.at(last_ms - 3_600_000, 1.0) - 1.0 == pytest.approx(beyond)


def test_each_retry_that_finds_it_slow_doubles_the_time_to_the_next() -> None:
    """Relaxation slows down with every confirmation up to a bound, and one fast call resets it."""
    pace, now_ms = learned(5.0), START_MS
    left = []
    for _ in range(LONGEST_DOUBLINGS + 3):
        left.append((pace.at(now_ms + 1000, 1.0) - 1.0) / (pace.at(now_ms, 1.0) - 1.0))
        now_ms += 60_000
        observed(pace, 5.0, now_ms)

    assert left == pytest.approx(sorted(left))
    assert left[0] == pytest.approx(math.exp(-1))
    assert left[-1] == pytest.approx(math.exp(-1 / 2**LONGEST_DOUBLINGS))
    observed(pace, 1.0, now_ms + 600_000)
    observed(pace, 1.0, now_ms + 600_001)
    observed(pace, 1.0, now_ms + 700_000)
    assert pace.held(now_ms + 701_000, 1.0) - 1.0 == pytest.approx((pace.value - 1.0) * math.exp(-1))


def test_failure_is_believed_until_something_better_is_seen() -> None:
    """A punished replica is slow, never less slow than it was, and a few good calls clear it."""
    pace = learned(1.0)
    pace.punish(100.0, START_MS + 1300)
    punished = pace.at(START_MS + 1300, 1.0)
    pace.punish(2.0, START_MS + 1300)

    assert punished > 20.0
    assert pace.value == 100.0
    for number in range(20):
        observed(pace, 1.0, START_MS + 1301 + number)
    assert pace.at(START_MS + 1321, 1.0) < 2.0


@given(st.lists(st.tuples(st.floats(1e-6, 1e4), st.integers(-5000, 60_000)), max_size=30))
def test_no_measurements_make_it_useless(calls: list[tuple[float, int]]) -> None:
    """Whatever was measured and however the clock jumped, it stays a positive finite number."""
    pace, now_ms = a_pace(), START_MS
    for ratio, step_ms in calls:
        now_ms += step_ms
        gain = pace.observe(ratio, 0.1, now_ms, 1.0)

        assert 0.0 < gain < 1.0
        assert 0.0 < pace.value < math.inf
        assert 0.0 < pace.variance < math.inf
        assert 0.0 < pace.at(now_ms + 100, 1.0) < math.inf


@given(st.lists(st.tuples(st.floats(0.1, 10.0), st.integers(0, 5000)), max_size=30))
def test_restored_pace_goes_on_alike(calls: list[tuple[float, int]]) -> None:
    """A pace brought back from JSON learns exactly as the one it was exported from."""
    pace, now_ms = a_pace(), START_MS
    for ratio, step_ms in calls:
        now_ms += step_ms
        pace.observe(ratio, 0.0, now_ms, 1.0)
    other = a_pace()
    other.restore(json.loads(json.dumps(pace.export())))

    for each in (pace, other):
        each.observe(3.0, 0.0, now_ms + 1, 1.0)
    assert other.export() == pace.export()
