"""How well a forecast did, once it is known what the market did.

Interval loss: the mean over all levels of alpha / 2 x (width + 2 / alpha x miss) (Gneiting and Raftery 2007;
weighted as by Bracher et al. 2021). Pinball loss: the mean over q05, q50 and q95. Both in basis points of log
return, as on cards.
"""

from __future__ import annotations

from typing import Final

from models.evidence import Spread, Trial, TrialOutcome
from models.task import INTERVAL_LEVELS

_BASIS_POINT: Final = 1e4
_TAIL: Final = INTERVAL_LEVELS.index(0.90)
"""The level whose ends are q05 and q95."""


def judged(trial: Trial, spread: Spread, realised: float, *, answered: bool) -> TrialOutcome:
    """The outcome of a trial that gave a forecast; `realised` is the log return over its horizon."""
    score = abs(realised - trial.location) / spread.scale
    return TrialOutcome(
        model=trial.model,
        answered=answered,
        calibration=trial.calibration,
        score=score,
        inside=sum(score > multiplier for multiplier in spread.multipliers),
        interval_loss=_interval_loss(spread, score),
        pinball_loss=_pinball_loss(trial.location, spread, realised),
        right=_right(trial, realised),
        service_us=trial.service_us,
    )


def _interval_loss(spread: Spread, score: float) -> float:
    losses = (
        (1 - level) * multiplier + max(score - multiplier, 0.0)
        for level, multiplier in zip(INTERVAL_LEVELS, spread.multipliers, strict=True)
    )
    return sum(losses) / len(INTERVAL_LEVELS) * spread.scale * _BASIS_POINT


def _pinball_loss(location: float, spread: Spread, realised: float) -> float:
    tail = spread.multipliers[_TAIL] * spread.scale
    quantiles = ((0.05, location - tail), (0.5, location), (0.95, location + tail))
    losses = (max(tau * (realised - q), (tau - 1) * (realised - q)) for tau, q in quantiles)
    return sum(losses) / len(quantiles) * _BASIS_POINT


def _right(trial: Trial, realised: float) -> float | None:
    """1 if the direction was right, 1/2 if none was named, None if there was none.

    A calibration that found no news in the log odds (`up_slope` 0) makes every probability 1/2. Then the
    direction is the median's: to call all such forecasts half right would hide how they did.
    """
    if realised == 0.0:
        return None
    said = trial.prob_up - 0.5 or trial.location
    if said == 0.0:
        return 0.5
    return float((said > 0) == (realised > 0))
