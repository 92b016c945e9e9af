"""Forecasts of several models as one: quantile averaging (Vincent 1912; Ratcliff 1979).

Location, half-width at 0.90 and probability of a rise are weighted means. Half-widths at the other levels are
in the proportions of the ensemble's own calibration, because that is what outcomes judge and recalibrate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.card import Calibration
from models.forecast import Forecast

_TAIL_LEVEL: Final = 0.90
"""The central interval whose ends are the quantiles q05 and q95."""


def combined(
    rows: Mapping[str, Sequence[Forecast]],
    weights: Mapping[str, float],
    calibration: Calibration,
    *,
    level: float,
) -> list[Forecast]:
    """One forecast per row, at `level`. Every model has as many rows; its weight is positive, and relative to
    those of the others here. Inside the distribution is what is so for all of them.
    """
    share = np.array([weights[model] for model in rows])
    share = share / share.sum()
    middle = share @ _of_all(rows, "q50")
    tail = share @ (_of_all(rows, "q95") - _of_all(rows, "q05")) / 2
    wide = tail * (calibration.multiplier(level) / calibration.multiplier(_TAIL_LEVEL))
    up = np.clip(share @ _of_all(rows, "prob_up"), 0.0, 1.0)
    inside = _of_all(rows, "in_distribution").all(axis=0)
    columns = (middle - tail, middle, middle + tail, middle - wide, middle + wide, up, inside)
    return [
        Forecast(
            q05=q05,
            q50=q50,
            q95=q95,
            lower=lower,
            upper=upper,
            level=level,
            prob_up=prob_up,
            in_distribution=bool(within),
        )
        for q05, q50, q95, lower, upper, prob_up, within in zip(
            *(column.tolist() for column in columns), strict=True
        )
    ]


def _of_all(rows: Mapping[str, Sequence[Forecast]], name: str) -> NDArray[np.float64]:
    """One attribute of every forecast: models by rows."""
    found = [[getattr(forecast, name) for forecast in theirs] for theirs in rows.values()]
    return np.array(found, dtype=float)
