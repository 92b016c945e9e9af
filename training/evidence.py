"""What was measured on the test part, with bounds that know how little is independent.

Windows overlap and volatility comes in clusters, over all instruments at once. So every error is clustered
by hour of market time: the rows of an hour, of all instruments, count as one observation. Interval score:
the mean over all levels of alpha / 2 x (width + 2 / alpha x miss) (Gneiting & Raftery 2007; weighted as by
Bracher et al. 2021), in basis points of log return. Pinball loss: the mean over q05, q50 and q95.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inference.calibration import RawOutputs
from models.card import Bounded, Calibration, Evidence
from models.task import INTERVAL_LEVELS
from training.data import Samples
from training.plan import Part

_HOUR_MS: Final = 3_600_000
_Z95: Final = 1.959964
_BASIS_POINT: Final = 1e4

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Losses:
    """Losses of one model, row by row."""

    inside: dict[str, Values]
    interval: Values
    pinball: Values
    right_direction: Values


def losses_of(raw: RawOutputs, calibration: Calibration, outcome: Values) -> Losses:
    """Score every row with the intervals and quantiles that the hub would have answered."""
    location, scale = raw.location.astype(np.float64), raw.scale.astype(np.float64)
    distance = np.abs(outcome - location)
    inside: dict[str, Values] = {}
    interval = np.zeros_like(outcome)
    for level in INTERVAL_LEVELS:
        half = calibration.multiplier(level) * scale
        inside[f"{level:.2f}"] = (distance <= half).astype(np.float64)
        interval += (1 - level) * half + np.maximum(distance - half, 0)
    tail = calibration.multiplier(0.90) * scale
    return Losses(
        inside=inside,
        interval=interval / len(INTERVAL_LEVELS) * _BASIS_POINT,
        pinball=_pinball(outcome, {0.05: location - tail, 0.5: location, 0.95: location + tail}),
        right_direction=_right(raw.logit_up.astype(np.float64), outcome),
    )


def evidence_of(model: Losses, naive: Losses, samples: Samples, *, instrument: str, part: Part) -> Evidence:
    """Evidence on the rows of one instrument, or of all (`*`)."""
    chosen = np.ones(len(samples), bool) if instrument == "*" else samples.instrument == instrument
    hours = samples.close_ms[chosen] // _HOUR_MS
    moved = chosen & (samples.outcome != 0)
    return Evidence(
        instrument=instrument,
        period_from=part.start.isoformat(),
        period_to=part.end.isoformat(),
        n=int(chosen.sum()),
        coverage={level: share(inside[chosen], hours) for level, inside in model.inside.items()},
        interval_score=mean(model.interval[chosen], hours),
        skill=skill(model.interval[chosen], naive.interval[chosen], hours),
        pinball_skill=skill(model.pinball[chosen], naive.pinball[chosen], hours),
        direction_accuracy=share(model.right_direction[moved], samples.close_ms[moved] // _HOUR_MS),
    )


def mean(values: Values, clusters: NDArray[np.int64]) -> Bounded:
    """Mean with 95 % bounds."""
    return _bounded(float(values.mean()), clustered_error(values, clusters), len(values))


def share(hits: Values, clusters: NDArray[np.int64]) -> Bounded:
    """Share of hits with Wilson bounds at the effective number of observations.

    Effective: as many independent draws as would have the clustered error that was measured (at most n).
    """
    p, n = float(hits.mean()), len(hits)
    error = clustered_error(hits, clusters)
    effective = min(p * (1 - p) / error**2, n) if error > 0 else n
    lower, upper = wilson(p, effective)
    return Bounded(value=round(p, 5), lower=round(lower, 5), upper=round(upper, 5), n=n)


def wilson(p: float, n: float) -> tuple[float, float]:
    """95 % bounds of a share (Wilson 1927)."""
    shrink = 1 + _Z95**2 / n
    centre = (p + _Z95**2 / (2 * n)) / shrink
    half = _Z95 / shrink * math.sqrt(p * (1 - p) / n + _Z95**2 / (4 * n**2))
    return centre - half, centre + half


def skill(model: Values, naive: Values, clusters: NDArray[np.int64]) -> Bounded:
    """1 - mean(model) / mean(naive), its error by the delta method on paired rows."""
    value = 1 - float(model.mean()) / float(naive.mean())
    residual = model - (1 - value) * naive
    return _bounded(value, clustered_error(residual, clusters) / float(naive.mean()), len(model))


def beats(model: Losses, other: Losses, samples: Samples) -> bool:
    """Whether the interval score is better by more than two standard errors of the paired difference."""
    gain = other.interval - model.interval
    return float(gain.mean()) > 2 * clustered_error(gain, samples.close_ms // _HOUR_MS)


def clustered_error(values: Values, clusters: NDArray[np.int64]) -> float:
    """Standard error of a mean whose rows are independent between clusters only."""
    _, index = np.unique(clusters, return_inverse=True)
    sums = np.bincount(index, weights=values - values.mean())
    count = len(sums)
    return math.sqrt(float(sums @ sums) * count / max(count - 1, 1)) / len(values)


def _bounded(value: float, error: float, n: int) -> Bounded:
    half = _Z95 * error
    return Bounded(value=round(value, 5), lower=round(value - half, 5), upper=round(value + half, 5), n=n)


def _pinball(outcome: Values, quantiles: dict[float, Values]) -> Values:
    losses = [np.maximum(tau * (outcome - q), (tau - 1) * (outcome - q)) for tau, q in quantiles.items()]
    return np.asarray(np.mean(losses, axis=0) * _BASIS_POINT)


def _right(logit: Values, outcome: Values) -> Values:
    """1 if the direction was right, 1/2 if the model named none."""
    return np.asarray(0.5 + 0.5 * np.sign(logit) * np.sign(outcome))
