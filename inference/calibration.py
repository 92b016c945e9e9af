"""The calibrated head: from a graph's raw outputs to forecasts with intervals that were measured.

The interval at a level is location -/+ multiplier x scale, the multiplier being the split-conformal quantile
of |outcome - location| / scale on held-back data (Lei et al., JASA 2018). The logit is recalibrated by slope
and offset (Platt 1999).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.card import Calibration
from models.errors import BadValue
from models.forecast import Forecast

_TAIL_LEVEL: Final = 0.90
"""The central interval whose ends are the quantiles q05 and q95."""


@dataclass(frozen=True, slots=True)
class RawOutputs:
    """What a graph returns, float32[n] each: log return over the horizon, its scale, log odds of a rise."""

    location: NDArray[np.float32]
    scale: NDArray[np.float32]
    logit_up: NDArray[np.float32]


class Head:
    """Applies one card's calibration. `context` names the columns that its domain bounds."""

    def __init__(self, calibration: Calibration, context: tuple[str, ...]) -> None:
        self._calibration = calibration
        self._tail = calibration.multiplier(_TAIL_LEVEL)
        anywhere = (-np.inf, np.inf)
        bounds = np.array([calibration.domain.get(name, anywhere) for name in context], dtype=np.float32)
        self._lowest, self._highest = bounds[:, 0], bounds[:, 1]

    def multiplier(self, level: float) -> float:
        """The multiplier of a calibrated level; BadValue lists the levels there are."""
        try:
            return self._calibration.multiplier(level)
        except KeyError:
            levels = ", ".join(sorted(self._calibration.multipliers))
            raise BadValue(
                f"interval_level was {level}; calibrated levels: {levels}", field="interval_level"
            ) from None

    def forecasts(self, raw: RawOutputs, context: NDArray[np.float32], level: float) -> list[Forecast]:
        """One calibrated forecast per row, its interval at `level`."""
        wide = self.multiplier(level)
        location, scale = raw.location.tolist(), raw.scale.tolist()
        rows = zip(location, scale, self._prob_up(raw).tolist(), self._inside(context).tolist(), strict=True)
        tail = self._tail
        return [
            Forecast(
                q05=middle - tail * spread,
                q50=middle,
                q95=middle + tail * spread,
                lower=middle - wide * spread,
                upper=middle + wide * spread,
                level=level,
                prob_up=prob_up,
                in_distribution=inside,
            )
            for middle, spread, prob_up, inside in rows
        ]

    def _prob_up(self, raw: RawOutputs) -> NDArray[np.float64]:
        logit = self._calibration.up_slope * raw.logit_up.astype(np.float64) + self._calibration.up_offset
        return np.asarray(0.5 * (1 + np.tanh(0.5 * logit)))  # the logistic function without overflow

    def _inside(self, context: NDArray[np.float32]) -> NDArray[np.bool_]:
        return np.asarray(((context >= self._lowest) & (context <= self._highest)).all(axis=1))
