"""Predicted completion: how long an answer takes, how surely, and what is assumed before it is measured.

Base rule: shortest expected delay. A replica with `c` slots and `q` calls queued or running answers in about
`s * max(1, (q + 1) / c)`, where `s` is the model's service time there; the way there and back comes on top.
Quantiles: the ratio of actual to predicted completion is collected, and its order statistics multiply the
prediction (split-conformal), so that a promise is calibrated whatever shape the errors have.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.card import WarmProfile

Floats = NDArray[np.float64]
Numbers = TypeVar("Numbers", float, Floats)
"""One number, or an array of them."""

RATIOS_KEPT: Final = 512
SEEDS: Final = 32
_UNSEEN: Final = 1.5
"""What takes longer than anything seen is assumed to take so many times that."""
_SEED_SCORES: Final = tuple(NormalDist().inv_cdf((i + 0.5) / SEEDS) for i in range(SEEDS))
_P99: Final = NormalDist().inv_cdf(0.99)


def faded(age_ms: float, tau_ms: float) -> float:
    """What is left of a belief after `age_ms`: exp(-age / tau). An age below 0 (a clock set back) is none."""
    return math.exp(-max(0.0, age_ms) / tau_ms)


class Completion(NamedTuple):
    """Predictions for the candidates of one decision, milliseconds, one entry per candidate.

    `expected_ms` is what one answer takes on average, `budget_ms` what is left of the deadline.
    `quantile_ms`, exceeded by one answer in twenty, is there for pickers that look at every pair.
    """

    expected_ms: Floats
    budget_ms: float
    quantile_ms: Floats | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """How far actual completions lie from predicted ones: their ratios in ascending order.

    `tail` is the ratio at the level that promises are made for, and at least 1: nobody promises to beat the
    prediction, unless the level is below one half.
    """

    ordered: Sequence[float]
    tail: float

    def share_within(self, ratio: float) -> float:
        """Probability that a next completion stays within `ratio`; from `tail` on, at least the level."""
        return bisect_right(self.ordered, ratio) / (len(self.ordered) + 1)


SURE: Final = Spread((1.0,), 1.0)
"""The spread of what always takes what was predicted; for replicas that are gone."""


class Ratios:
    """The last ratios of actual to predicted completion, from which the current `spread` follows.

    Before anything is measured they are those of a lognormal whose logarithm has the standard deviation
    `sigma`; each measured one counts as much as a seed, and the seeds are the first to be forgotten.
    """

    def __init__(self, sigma: float, *, level: float) -> None:
        seeds = [math.exp(sigma * score) for score in _SEED_SCORES]
        self._level = level
        self._arrived = deque(seeds, maxlen=RATIOS_KEPT)
        self.spread = self._spread(seeds)

    def observe(self, ratio: float) -> None:
        """Take one more completion. The spread is replaced, never changed: snapshots hold the old one."""
        ordered = list(self.spread.ordered)
        if len(self._arrived) == RATIOS_KEPT:
            del ordered[bisect_left(ordered, self._arrived[0])]
        self._arrived.append(ratio)
        insort(ordered, ratio)
        self.spread = self._spread(ordered)

    def observe_beyond(self, ratio: float) -> None:
        """Take one that nobody waited for any longer: it stands for the middle of those beyond.

        Left out, only those in time would be known, and every promise be too good.
        """
        ordered = self.spread.ordered
        beyond = bisect_right(ordered, ratio)
        middle = ordered[(beyond + len(ordered)) // 2] if beyond < len(ordered) else _UNSEEN * ratio
        self.observe(middle)

    def export(self) -> list[float]:
        """The ratios in the order of their arrival."""
        return list(self._arrived)

    def restore(self, arrived: Sequence[float]) -> None:
        self._arrived = deque(arrived, maxlen=RATIOS_KEPT)
        self.spread = self._spread(sorted(arrived))

    def _spread(self, ordered: list[float]) -> Spread:
        return Spread(ordered, max(_least(self._level), _order_statistic(ordered, self._level)))


def sigma_of(p99_over_p50: float) -> float:
    """Standard deviation of the logarithm of a lognormal with that p99 / p50."""
    return math.log(max(1.0, p99_over_p50)) / _P99


def seed_tail(sigmas: Floats, *, level: float) -> Floats:
    """The `tail` of ratios that are all seeds, for many sigmas at once."""
    return np.maximum(_least(level), np.exp(sigmas * _order_statistic(_SEED_SCORES, level)))


def _least(level: float) -> float:
    return 1.0 if level >= 0.5 else 0.0


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
