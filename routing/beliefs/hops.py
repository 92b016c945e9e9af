"""The way to a pool's replicas and back, as this process measures it: what no replica accounted for.

Two beliefs per pool: what the way takes now, and what is usual. The first follows measurements and, where
there are none, is back at the usual within seconds: an overloaded caller is soon far from everybody, and if
it believed so for long it would make no call that could teach it better. The usual is the average of half a
minute and relaxes to what is configured. All of it by ratio, since a way under overload is a thousand times
as long as one without.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

from models.base import Frozen
from models.bounds import Gain, NotNegative, Positive
from routing.latency import faded

_LONGEST: Final = 3.0
_PAUSE_MS: Final = 10.0
"""A way may take so many times as long as usual and so much more; what is beyond is something else."""
_FRESH: Final = 0.7
"""A measurement is compared with the last one itself while so much is left of that."""
_LEAST_MS: Final = 1e-3
_MOST_WEIGHT_MS: Final = 1000.0
"""For how long one measurement may speak, however long there was no other."""


class HopConfig(Frozen):
    """What the way takes until it is measured, to another process and within this one; how fast a measurement
    counts, how fast it fades to what is usual, and how fast that changes.
    """

    remote_ms: NotNegative = 2.0
    local_ms: NotNegative = 0.05
    gain: Gain = 0.1
    tau_ms: Positive = 2000.0
    usual_tau_ms: Positive = 30_000.0


class _Way(NamedTuple):
    """What was configured, is usual, and was measured last, in ms; when, and how often."""

    first: float
    usual: float
    last: float
    seen_ms: float
    measured: int


class Hops:
    """The way to each pool. Times are wall milliseconds."""

    def __init__(self, config: HopConfig) -> None:
        self._config = config
        self._ways: dict[str, _Way] = {}

    def known(self, pool: str, *, local: bool) -> None:
        """There is such a pool."""
        first = max(_LEAST_MS, self._config.local_ms if local else self._config.remote_ms)
        self._ways.setdefault(pool, _Way(first, first, first, 0.0, 0))

    def unlearned(self) -> dict[str, float]:
        """The way to each pool as configured."""
        return {pool: way.first for pool, way in self._ways.items()}

    def at(self, now_ms: float) -> dict[str, float]:
        """The way to each pool by now."""
        return {pool: self._now(way, self._usual(way, now_ms), now_ms) for pool, way in self._ways.items()}

    def observe(self, pool: str, hop_ms: float, now_ms: float) -> float:
        """Take one way there and back; returns what of it no way explains, because the replica was stopped.

        Charged to the pool, one replica that stalls would make all its neighbours look far away.
        """
        way = self._ways[pool]
        usual = self._usual(way, now_ms)
        fresh = faded(now_ms - way.seen_ms, self._config.tau_ms) > _FRESH
        before = way.last if fresh else self._now(way, usual, now_ms)
        taken_ms = min(hop_ms, _LONGEST * before + _PAUSE_MS)
        last = max(_LEAST_MS, before + (taken_ms - before) * self._config.gain)
        usual = _toward(last, usual, 1.0 - self._weight(way, now_ms))
        self._ways[pool] = _Way(way.first, usual, last, now_ms, way.measured + 1)
        return hop_ms - taken_ms

    def _weight(self, way: _Way, now_ms: float) -> float:
        """How much a measurement says of what is usual: the first ones their share, later by time."""
        passed_ms = min(_MOST_WEIGHT_MS, max(0.0, now_ms - way.seen_ms))
        return max(1.0 / (way.measured + 1), 1.0 - faded(passed_ms, self._config.usual_tau_ms))

    def _usual(self, way: _Way, now_ms: float) -> float:
        return _toward(way.first, way.usual, faded(now_ms - way.seen_ms, self._config.usual_tau_ms))

    def _now(self, way: _Way, usual: float, now_ms: float) -> float:
        return _toward(usual, way.last, faded(now_ms - way.seen_ms, self._config.tau_ms))

    def export(self) -> dict[str, Any]:
        """The state as JSON can hold it."""
        return {pool: list(way) for pool, way in self._ways.items()}

    def restore(self, state: dict[str, Any]) -> None:
        self._ways = {pool: _Way(*way) for pool, way in state.items()}


def _toward(goal: float, value: float, left: float) -> float:
    """The value with so much left of its distance to the goal, by ratio."""
    return goal * math.exp(math.log(value / goal) * left) if value != goal else goal
