"""How one replica compares with what is usual: its *pace*, the multiple of a model's service time it takes.

One number for all models, because what slows a replica down (another process on its node, an older processor)
slows all of them: a call of any model is news about the next call of every other.

The estimate is a scalar Kalman filter on the ratio of measured to usual service time: its own uncertainty
decides how much a new measurement counts, grows while nothing is measured, and jumps when measurements keep
falling on one side of the belief (a two-sided CUSUM, Page 1954), so that a steady replica is known precisely
and one that changed is relearned within a few calls.

No belief outlives its evidence: unmeasured, the pace relaxes to the cohort's middle, or a replica that was
slow once would never be tried again. Each retry that finds it slow again doubles the time the next one takes.
Written under the load table's lock only.
"""

from __future__ import annotations

import math
from typing import Any, Final

from models.base import Frozen
from models.bounds import NotNegative, Positive
from routing.latency import faded

NOISE: Final = 0.6
"""Variance of one measured ratio around its expectation: between steady and exponential service."""
_CHANGED: Final = 3.0
"""Variance after a change: the next measurement counts five sixths."""
_RETRIED: Final = 0.7
"""A measurement that finds less than this left of the belief was a retry."""
_SLOW: Final = 1.5
"""A pace of so many times the cohort's middle is slow."""
LONGEST_DOUBLINGS: Final = 5


_REPEATED: Final = 3.0


class PaceConfig(Frozen):
    """`tau_ms` is how fast an unmeasured pace relaxes at first; `drift` how fast (variance per second) a
    belief grows uncertain; `prior` how uncertain it starts. A replica differs from its cohort by as much as
    exceeds `sure` standard deviations: what may be chance is no reason to prefer one.
    """

    tau_ms: Positive = 1000.0
    drift: NotNegative = 0.01
    prior: Positive = 0.5
    sure: NotNegative = 1.0
    slack: NotNegative = 0.7
    alarm: Positive = 5.0


class Pace:
    """The pace of one replica; 1 is usual. Times are wall milliseconds."""

    __slots__ = ("_above", "_below", "_config", "_doublings", "_seen_ms", "measured", "value", "variance")

    def __init__(self, config: PaceConfig, *, middle: float) -> None:
        self._config = config
        self.value = middle
        self.variance = config.prior
        self.measured = False
        self._seen_ms = 0.0
        self._doublings = 0
        self._above = 0.0
        self._below = 0.0

    def at(self, now_ms: float, middle: float) -> float:
        """The pace by now, relaxed to the cohort's middle."""
        return middle + (self.last(middle) - middle) * self._left(now_ms)

    def at_least_last(self, now_ms: float, middle: float) -> float:
        """The same, but no less than last measured: for as long as a call that will tell is out."""
        last = self.last(middle)
        return max(last, middle + (last - middle) * self._left(now_ms))

    def held(self, now_ms: float, middle: float) -> float:
        """The estimate to compare a measurement with: the last one, or what a retry finds left of it."""
        left = self._left(now_ms)
        return self.value if left >= _RETRIED else middle + (self.value - middle) * left

    def last(self, middle: float) -> float:
        """The pace as last measured, moved towards the middle by what may be chance."""
        margin = self._config.sure * math.sqrt(self.variance) * self.value
        if self.value > middle:
            return max(middle, self.value - margin)
        return min(middle, self.value + margin)

    def observe(self, ratio: float, other_variance: float, now_ms: float, middle: float) -> float:
        """Take the ratio of a measured service time to this belief; returns the gain it was given.

        `other_variance` is the uncertainty of what the ratio was taken against besides this pace.
        """
        left = self._left(now_ms)
        retried = self.measured and left < _RETRIED
        self.variance = self._variance_at(now_ms)
        if self._alarmed(ratio - 1.0, other_variance):
            self.variance = _CHANGED
        gain = self.variance / (self.variance + other_variance + NOISE)
        self.value = max(1e-3, self.held(now_ms, middle) * (1.0 + gain * (ratio - 1.0)))
        self.variance *= 1.0 - gain
        self._seen_ms, self.measured = now_ms, True
        if retried:
            slow = self.value > _SLOW * middle
            self._doublings = min(self._doublings + 1, LONGEST_DOUBLINGS) if slow else 0
        return gain

    def _variance_at(self, now_ms: float) -> float:
        grown = self.variance + self._config.drift * max(0.0, now_ms - self._seen_ms) / 1000.0
        return max(self.variance, min(self._config.prior, grown))

    def hear(self, ratio: float, calls: float, now_ms: float, middle: float) -> None:
        """Take what the replica itself knows, from `calls` calls of anybody, if it knows more than this.

        It counts for a third: the same calls are reported again and again.
        """
        variance = _REPEATED * NOISE / calls
        if variance < self.variance:
            self.value = max(1e-3, self.held(now_ms, middle) * ratio)
            self.variance = variance

    def punish(self, pace: float, now_ms: float) -> None:
        """A call failed: believe the replica at least so slow, for as long as nothing better is seen."""
        self.value = max(self.value, pace)
        self.variance = self._config.prior
        self.measured = False
        self._seen_ms = now_ms

    def _left(self, now_ms: float) -> float:
        return faded(now_ms - self._seen_ms, self._config.tau_ms * (1 << self._doublings))

    def _alarmed(self, error: float, other_variance: float) -> bool:
        """Whether measurements have fallen on one side for too long; starts the count anew if so."""
        score = error / math.sqrt(self.variance + other_variance + NOISE)
        self._above = max(0.0, self._above + min(score, 3.0) - self._config.slack)
        self._below = max(0.0, self._below - score - self._config.slack)
        if max(self._above, self._below) < self._config.alarm:
            return False
        self._above = self._below = 0.0
        return True

    def export(self) -> dict[str, Any]:
        """The state as JSON can hold it."""
        return {
            "value": self.value,
            "variance": self.variance,
            "measured": self.measured,
            "seen_ms": self._seen_ms,
            "doublings": self._doublings,
            "above": self._above,
            "below": self._below,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.value, self.variance, self.measured = state["value"], state["variance"], state["measured"]
        self._seen_ms, self._doublings = state["seen_ms"], state["doublings"]
        self._above, self._below = state["above"], state["below"]
