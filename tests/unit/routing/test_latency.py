"""Warm profiles, and promises that hold whatever shape the errors have."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import pytest

from models.card import WarmProfile
from routing.latency import RATIOS_KEPT, SEEDS, Ratios, sigma_of, warm_at


def profile(rows: int, p50_ms: float, p99_ms: float | None = None) -> WarmProfile:
    """A profile whose p99 is twice its p50 unless said."""
    return WarmProfile(rows=rows, p50_ms=p50_ms, p99_ms=p99_ms or 2 * p50_ms, n=100)


@pytest.mark.parametrize(
    ("rows", "expected_ms"), [(1, 1.0), (8, 1.0), (132, 2.0), (256, 3.0), (504, 5.0), (4096, 33.96774)]
)
def test_warm_time_is_linear_between_and_beyond_measurements(rows: int, expected_ms: float) -> None:
    """Flat before the first point, linear between two, and along the last two beyond them."""
    assert warm_at([profile(256, 3.0), profile(8, 1.0)], rows) == pytest.approx((expected_ms, 2.0))


@pytest.mark.parametrize("p50_ms", [0.0, -1.0, math.nan, math.inf])
def test_unusable_profiles_say_nothing(p50_ms: float) -> None:
    """Zero, negative, infinite or missing times are no measurement."""
    assert warm_at([profile(1, p50_ms, 1.0)], 8) is None
    assert warm_at([], 8) is None


def test_seeds_have_the_tail_of_the_warm_profile() -> None:
    """Before anything is measured the median ratio is 1 and the extremes follow p99 / p50."""
    spread = Ratios(sigma_of(4.0), level=0.95).spread

    assert spread.share_within(1.0) == pytest.approx(0.5, abs=0.02)
    assert 2.0 < spread.tail < 4.0
    assert Ratios(sigma_of(1.0), level=0.95).spread.tail == 1.0


@pytest.mark.parametrize("shape", ["lognormal", "exponential", "two humps"])
def test_promises_are_kept_as_often_as_said(shape: str) -> None:
    """Of 4,000 completions the tail covers its level, within what their number allows."""
    rng = Random(5)
    draws: dict[str, Callable[[], float]] = {
        "lognormal": lambda: rng.lognormvariate(0.0, 0.6),
        "exponential": lambda: rng.expovariate(1.0),
        "two humps": lambda: rng.uniform(0.9, 1.1) * (5.0 if rng.random() < 0.2 else 1.0),
    }
    draw = draws[shape]
    ratios, kept, told = Ratios(sigma_of(2.0), level=0.95), 0, 0.0
    for number in range(5000):
        ratio = draw()
        if number >= 1000:
            kept += ratio <= ratios.spread.tail
            told += ratios.spread.share_within(1.5)
        ratios.observe(ratio)

    assert kept / 4000 == pytest.approx(0.95, abs=0.012)
    assert told / 4000 == pytest.approx(sum(draw() <= 1.5 for _ in range(20_000)) / 20_000, abs=0.02)


def test_seeds_are_forgotten_first() -> None:
    """The newest ratios are kept, and nothing of the seeds once there are enough."""
    ratios = Ratios(sigma_of(4.0), level=0.95)
    for _ in range(RATIOS_KEPT - SEEDS):
        ratios.observe(2.0)
    assert min(ratios.spread.ordered) < 1.0

    for _ in range(SEEDS):
        ratios.observe(2.0)
    assert set(ratios.spread.ordered) == {2.0}
    assert ratios.spread.tail == 2.0


def test_nobody_promises_to_beat_the_prediction() -> None:
    """Completions always faster than predicted leave the tail at 1, and the share as it is."""
    ratios = Ratios(sigma_of(1.0), level=0.95)
    for _ in range(RATIOS_KEPT):
        ratios.observe(0.5)

    assert ratios.spread.tail == 1.0
    assert ratios.spread.share_within(0.5) > 0.99
