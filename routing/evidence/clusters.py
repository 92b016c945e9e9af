"""Sums over clusters of outcomes that fade with market time, and ratios of them with their errors.

Every measure of a model is a ratio of two sums: outcomes inside over outcomes, loss over the control's loss.
Its error is that of the residual numerator - ratio x denominator over clusters (delta method), for which the
second moments of the sums are enough.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.task import INTERVAL_LEVELS

Vector = NDArray[np.float64]

LEVELS: Final = len(INTERVAL_LEVELS)
COUNT: Final = 0
INSIDE: Final = range(1, 1 + LEVELS)
LOSS, PAIRED_LOSS, CONTROL_LOSS, PAIRED_PINBALL, CONTROL_PINBALL, RIGHT, MOVED = range(1 + LEVELS, 8 + LEVELS)
WIDTH: Final = 8 + LEVELS
"""What is summed, by place: outcomes, those inside each level, losses of all and of those with a control
beside them, and directions.
"""


class Ratio(NamedTuple):
    """A ratio of sums. `clusters` is how many equal ones they are worth, `doublings` how often the weight of
    a new one has doubled since the first.
    """

    value: float
    error: float
    clusters: float
    doublings: float


class FadingSums:
    """First and second moments of clusters, each worth half after `half_life_ms`."""

    def __init__(self, half_life_ms: float) -> None:
        self._half_life_ms = half_life_ms
        self._first = np.zeros(WIDTH)
        self._second = np.zeros((WIDTH, WIDTH))
        self._rows = 0.0
        self._began_ms = self._last_ms = 0

    def add(self, sums: Vector, at_ms: int) -> None:
        """Add a cluster that closed at `at_ms`."""
        if self._rows == 0.0:
            self._began_ms = self._last_ms = at_ms
        fade = 0.5 ** (max(0, at_ms - self._last_ms) / self._half_life_ms)
        self._last_ms = max(self._last_ms, at_ms)
        self._first = self._first * fade + sums
        self._second = self._second * fade**2 + np.outer(sums, sums)
        self._rows = self._rows * fade**2 + float(sums[COUNT])

    @property
    def clusters(self) -> float:
        """How many equal clusters these are worth (Kish)."""
        squares = float(self._second[COUNT, COUNT])
        return float(self._first[COUNT]) ** 2 / squares if squares else 0.0

    def share(self, hits: int) -> Ratio:
        """Share of all outcomes. Its error is at least that of as many independent ones, so that a share of 0
        or 1 is not certain.
        """
        found = self.ratio(hits, COUNT)
        total = float(self._first[COUNT])
        likely = (float(self._first[hits]) + 1.0) / (total + 2.0)
        return found._replace(error=max(found.error, math.sqrt(likely * (1 - likely) * self._rows) / total))

    def ratio(self, numerator: int, denominator: int) -> Ratio:
        """Ratio of two sums; the denominator's must not be 0."""
        below = float(self._first[denominator])
        value = float(self._first[numerator]) / below
        residual = np.zeros(WIDTH)
        residual[numerator] += 1.0
        residual[denominator] -= value
        clusters = self.clusters
        variance = float(residual @ self._second @ residual) * clusters / max(clusters - 1.0, 1.0)
        doublings = (self._last_ms - self._began_ms) / self._half_life_ms
        return Ratio(value, math.sqrt(max(variance, 0.0)) / below, clusters, doublings)

    def has(self, place: int) -> bool:
        """Whether anything was summed there."""
        return bool(self._first[place] > 0)
