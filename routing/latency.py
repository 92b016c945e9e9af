"""Predicted completion: how long an answer takes, how surely, and what is assumed before it is measured.

Base rule: shortest expected delay. A replica with `c` slots and `q` calls queued or running answers in about
`s * max(1, (q + 1) / c)`, where `s` is the model's service time there; the way there and back comes on top.
Quantiles: the ratio of actual to predicted completion is collected, and its order statistics multiply the
prediction (split-conformal), so that a promise is calibrated whatever shape the errors have.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.card import WarmProfile

Floats = NDArray[np.float64]

RATIOS_KEPT: Final = 256
SEEDS: Final = 64
_SEED_SCORES: Final = tuple(NormalDist().inv_cdf((i + 0.5) / SEEDS) for i in range(SEEDS))
_P99: Final = NormalDist().inv_cdf(0.99)


@dataclass(frozen=True, slots=True)
class Completion:
    """Predictions for the candidates of one decision, milliseconds, one entry per candidate.

    `quantile_ms` is exceeded by one answer in twenty, `budget_ms` is what is left of the deadline.
    """

    expected_ms: Floats
    quantile_ms: Floats
    budget_ms: float


@dataclass(frozen=True, slots=True)
class Spread:
    """How far actual completions lie from predicted ones: the last ratios, by arrival and in order.

    Before anything is measured the ratios are those of a lognormal with the warm profile's p99 / p50; each
    measured one counts as much as a seed, and the seeds are the first to be forgotten. `tail` is the ratio at
    the level that promises are made for, and at least 1: nobody promises to beat the prediction.
    """

    arrived: tuple[float, ...]
    ordered: tuple[float, ...]
    level: float
    tail: float

    @classmethod
    def of(cls, arrived: tuple[float, ...], ordered: tuple[float, ...], level: float) -> Spread:
        return cls(arrived, ordered, level, max(1.0, _order_statistic(ordered, level)))

    @classmethod
    def seeded(cls, p99_over_p50: float, *, level: float) -> Spread:
        sigma = math.log(max(1.0, p99_over_p50)) / _P99
        ratios = tuple(math.exp(sigma * score) for score in _SEED_SCORES)
        return cls.of(ratios, ratios, level)

    def observed(self, ratio: float) -> Spread:
        """The spread after one more completion took `ratio` times its prediction."""
        arrived, ordered = self.arrived, list(self.ordered)
        if len(arrived) == RATIOS_KEPT:
            ordered.remove(arrived[0])
            arrived = arrived[1:]
        insort(ordered, ratio)
        return Spread.of((*arrived, ratio), tuple(ordered), self.level)

    def share_within(self, ratio: float) -> float:
        """Probability that a next completion stays within `ratio`; at least `level` from `tail` on."""
        return bisect_right(self.ordered, ratio) / (len(self.ordered) + 1)


def _order_statistic(ordered: Sequence[float], level: float) -> float:
    """The split-conformal quantile: the ceil((n + 1) level)-th of n; the largest where n is too small."""
    rank = math.ceil((len(ordered) + 1) * level)
    return ordered[min(rank, len(ordered)) - 1]


def warm_at(profiles: Sequence[WarmProfile], rows: int) -> tuple[float, float] | None:
    """Warm p50 in milliseconds and p99 / p50 at `rows` rows; None without a usable measurement.

    Linear in rows between measured points and along the last two beyond them; flat before the first.
    """
    points = sorted((p.rows, p.p50_ms, p.p99_ms / p.p50_ms) for p in profiles if _usable(p))
    if not points:
        return None
    measured, p50_ms, tails = (list(column) for column in zip(*points, strict=True))
    at = min(rows, measured[-1])
    within = float(np.interp(at, measured, p50_ms))
    return within + (rows - at) * _last_slope(measured, p50_ms), float(np.interp(at, measured, tails))


def _usable(profile: WarmProfile) -> bool:
    return 0 < profile.p50_ms < math.inf and 0 < profile.p99_ms < math.inf


def _last_slope(measured: list[int], p50_ms: list[float]) -> float:
    if len(measured) < 2 or measured[-1] == measured[-2]:
        return 0.0
    return max(0.0, (p50_ms[-1] - p50_ms[-2]) / (measured[-1] - measured[-2]))
