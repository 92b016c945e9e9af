"""Forecasts of several models as one, against quantiles averaged one by one."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.ensemble import combined
from models.card import Calibration
from models.forecast import Forecast
from models.task import INTERVAL_LEVELS
from routing.evidence.recalibration import levels_of, recalibrated, spread_of
from tests.support.cards import an_ensemble

CALIBRATION = an_ensemble().calibration
WIDTHS = st.floats(1e-6, 1e-2)
MIDDLES = st.floats(-1e-2, 1e-2)


def says(middle: float, half: float, prob_up: float, *, inside: bool) -> Forecast:
    """A member's forecast; it was asked for its interval at 0.90."""
    return Forecast(
        q05=middle - half,
        q50=middle,
        q95=middle + half,
        lower=middle - half,
        upper=middle + half,
        level=0.90,
        prob_up=prob_up,
        in_distribution=inside,
    )


SAID = st.builds(says, MIDDLES, WIDTHS, st.floats(0, 1), inside=st.booleans())


@given(st.data(), st.integers(1, 5), st.integers(1, 4), st.sampled_from(INTERVAL_LEVELS))
def test_is_the_weighted_mean_of_quantiles(data: st.DataObject, models: int, rows: int, level: float) -> None:
    """Middle, both ends and probability of a rise; inside the distribution if all are."""
    names = [f"m{number}@1" for number in range(models)]
    weights = {name: data.draw(st.floats(0.01, 1)) for name in names}
    said = {name: [data.draw(SAID) for _ in range(rows)] for name in names}
    total = sum(weights.values())

    found = combined(said, weights, CALIBRATION, level=level)

    assert len(found) == rows
    for row, one in enumerate(found):
        for field in ("q05", "q50", "q95", "prob_up"):
            mean = sum(weights[name] * getattr(said[name][row], field) for name in names) / total
            assert getattr(one, field) == pytest.approx(mean, abs=1e-12)
        assert one.in_distribution == all(said[name][row].in_distribution for name in names)
        assert one.level == level
        half = CALIBRATION.multiplier(level) * (one.q95 - one.q05) / 2
        assert (one.upper - one.q50, one.q50 - one.lower) == pytest.approx((half, half), abs=1e-12)


@given(SAID)
def test_of_one_model_is_what_it_says(said: Forecast) -> None:
    """At 0.90, where its half-width is the ensemble's scale."""
    (one,) = combined({"m@1": [said]}, {"m@1": 0.3}, CALIBRATION, level=0.90)

    assert one.model_dump() == pytest.approx(said.model_dump(), abs=1e-12)


def test_is_judged_and_recalibrated_by_the_width_at_090() -> None:
    """What outcomes divide by is that half-width; new multipliers move every level."""
    (one,) = combined({"m@1": [says(0.0, 2.0, 0.5, inside=True)]}, {"m@1": 1.0}, CALIBRATION, level=0.95)
    own = levels_of(CALIBRATION)
    doubled = recalibrated(one, own, tuple(2 * multiplier for multiplier in own))

    assert spread_of(one, own).scale == pytest.approx(2.0)
    assert (doubled.q95, doubled.upper) == pytest.approx((4.0, 2 * one.upper))


def test_intervals_grow_with_the_level() -> None:
    """As the calibration of the ensemble does."""
    said = {"m@1": [says(0.0, 1.0, 0.5, inside=True)], "n@1": [says(1.0, 2.0, 0.5, inside=True)]}
    found = [
        combined(said, {"m@1": 1.0, "n@1": 1.0}, CALIBRATION, level=level)[0] for level in INTERVAL_LEVELS
    ]

    assert all(narrow.upper < wide.upper for narrow, wide in pairwise(found))


def test_another_scale_than_the_width_at_090_is_followed() -> None:
    """A calibration in which 0.90 is not 1 still gives the level in its proportion to 0.90."""
    twice = Calibration(
        version="x", n=1, multipliers={at: 2 * value for at, value in CALIBRATION.multipliers.items()}
    )
    said = {"m@1": [says(0.0, 1.0, 0.5, inside=True)]}

    assert combined(said, {"m@1": 1.0}, twice, level=0.99) == combined(
        said, {"m@1": 1.0}, CALIBRATION, level=0.99
    )
