"""The arithmetic of kept promises."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.calibration import ENOUGH, Promises, Tenth, calibration_error, worst_excess


def test_promises_are_sorted_into_tenths() -> None:
    """1.0 belongs to the last tenth; tenths without a promise are absent."""
    promises = Promises(np.array([0.05, 0.95, 1.0, 0.99]), np.array([True, True, False, True]))

    low, high = promises.tenths()

    assert low == pytest.approx((1, 0.05, 1.0))
    assert high == pytest.approx((3, 0.98, 2 / 3))


def test_the_error_weighs_each_tenth_by_its_promises() -> None:
    """One off by 0.1 and three off by nothing are off by a fortieth on average."""
    assert calibration_error([Tenth(1, 0.5, 0.6), Tenth(3, 0.9, 0.9)]) == pytest.approx(0.025)


def test_chance_excuses_two_standard_errors() -> None:
    """Half of 10,000 has a standard error of half a point."""
    assert Tenth(10_000, 0.55, 0.5).excess == pytest.approx(0.04)
    assert Tenth(10_000, 0.505, 0.5).excess == 0.0


def test_small_tenths_do_not_count_for_the_worst() -> None:
    """However far they are off."""
    tenths = [Tenth(ENOUGH - 1, 0.1, 0.9), Tenth(ENOUGH, 0.55, 0.5)]

    assert worst_excess(tenths) == pytest.approx(0.04)
    assert worst_excess(tenths[:1]) == 0.0


def test_honest_promises_have_no_error() -> None:
    """Outcomes drawn with the probability promised."""
    rng = np.random.default_rng(1)
    p_meet = rng.random(200_000)
    tenths = Promises(p_meet, rng.random(200_000) < p_meet).tenths()

    assert len(tenths) == 10
    assert calibration_error(tenths) < 0.005
    assert worst_excess(tenths) == pytest.approx(0.0, abs=0.003)
