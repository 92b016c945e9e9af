"""Intervals for a difference of means that hold at every moment at once, however often one looks.

An asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central
limit theory and asymptotic confidence sequences", theorem 2.2) from Robbins' normal mixture (Howard, Ramdas,
McAuliffe and Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences", Annals of Statistics
2021). After t observations with standard deviation s the mean is within

    s sqrt((t r^2 + 1) / (t r)^2  log((t r^2 + 1) / alpha^2))

of the truth, for all t at once with probability 1 - alpha; r sets where the interval is narrowest. The
difference of two arms is the mean of one sequence with t = n0 + n1 and s^2 = t (s0^2 / n0 + s1^2 / n1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from models.base import Frozen


class Interval(Frozen):
    """A difference (treatment less control) with the bounds it is within."""

    difference: float
    lower: float
    upper: float


@dataclass(slots=True)
class Moments:
    """Mean and variance of what was added (Welford)."""

    n: int = 0
    mean: float = 0.0
    _squares: float = 0.0

    def add(self, value: float) -> None:
        self.n += 1
        before = value - self.mean
        self.mean += before / self.n
        self._squares += before * (value - self.mean)

    @property
    def variance(self) -> float:
        return self._squares / (self.n - 1) if self.n > 1 else math.inf


def half_width(n: int, variance: float, *, alpha: float, narrowest_at: int) -> float:
    """Half the width of the interval for a mean, after `n` observations."""
    squared = (-2.0 * math.log(alpha) + math.log(1.0 - 2.0 * math.log(alpha))) / narrowest_at
    grown = n * squared + 1.0
    return math.sqrt(variance * grown / (n * n * squared) * math.log(grown / alpha**2))


def difference(control: Moments, treatment: Moments, *, alpha: float, narrowest_at: int) -> Interval | None:
    """How much higher the treatment's mean is; None with fewer than two observations of either."""
    if min(control.n, treatment.n) < 2:
        return None
    n = control.n + treatment.n
    variance = n * (control.variance / control.n + treatment.variance / treatment.n)
    found = treatment.mean - control.mean
    half = half_width(n, variance, alpha=alpha, narrowest_at=narrowest_at)
    return Interval(difference=found, lower=found - half, upper=found + half)
