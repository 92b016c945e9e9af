"""Calibration on its own part of the data: interval multipliers, slope of the log odds, domain."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from inference.calibration import RawOutputs
from models.card import Calibration
from models.task import CONTEXT_FEATURES, INTERVAL_LEVELS
from training.data import Samples


def calibrate(raw: RawOutputs, held_back: Samples, train: Samples, *, version: str) -> Calibration:
    """Calibration of one model from its raw outputs on the held-back part; the domain is that of training.

    The offset of the log odds stays 0: a few hours' drift is no knowledge of the next days'. A negative slope
    would mean that the model's direction was wrong in these hours; it counts as no information, slope 0.
    """
    return Calibration(
        version=version,
        n=len(held_back),
        multipliers=_multipliers(raw, held_back.outcome),
        up_slope=round(_platt_slope(raw.logit_up.astype(np.float64), held_back.outcome), 6),
        domain={
            name: (float(column.min()), float(column.max()))
            for name, column in zip(CONTEXT_FEATURES, train.context.T, strict=True)
        },
    )


def _multipliers(raw: RawOutputs, outcome: NDArray[np.float64]) -> dict[str, float]:
    """Split-conformal quantiles: the ceil((n + 1) level)-th smallest of |outcome - location| / scale."""
    scores = np.sort(np.abs(outcome - raw.location) / raw.scale)
    ranks = {level: min(math.ceil((len(scores) + 1) * level), len(scores)) for level in INTERVAL_LEVELS}
    return {f"{level:.2f}": round(float(scores[rank - 1]), 6) for level, rank in ranks.items()}


def _platt_slope(logit: NDArray[np.float64], outcome: NDArray[np.float64]) -> float:
    """Maximum likelihood slope of P(rise) = 1 / (1 + exp(-slope x logit)) by Newton's method."""
    moved = outcome != 0
    signed = logit[moved] * np.sign(outcome[moved])
    slope = 0.0
    for _ in range(50):
        miss = 0.5 * (1 - np.tanh(0.5 * slope * signed))
        curvature = float(np.sum(signed**2 * miss * (1 - miss)))
        if curvature <= 0.0:
            break
        slope += float(np.sum(signed * miss)) / curvature
    return max(slope, 0.0)
