"""What replicas of one kind have in common: the middle of their paces, and how many foreign calls are usual.

Both are what a replica is believed to be like when it was not heard of for a while. They relax themselves,
the middle to 1 (the warm profile is right) and the usual number of foreign calls to none.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any, Final

from routing.latency import faded

_MIDDLE_TAU_MS: Final = 30_000.0
_USUAL_TAU_MS: Final = 3000.0
_USUAL_GAIN: Final = 0.05

Kind = tuple[str, str]
"""Pool and class of hardware."""


class CohortBeliefs:
    """Middles by pool and hardware, and a short-term forecast of foreign load by pool. Times in wall ms."""

    def __init__(self, *, forecast: bool) -> None:
        self._forecast = forecast
        self._middles: dict[Kind, tuple[float, float]] = {}
        self._measured: dict[Kind, float] = {}
        self._settled_middles: dict[Kind, float] = {}
        self._settled_usual: dict[str, float] = {}
        self._usual: dict[str, tuple[float, float]] = {}

    def middle(self, kind: Kind, now_ms: float) -> float:
        """The pace of a replica of which nothing is known."""
        value, seen_ms = self._middles.get(kind, (1.0, 0.0))
        return 1.0 + (value - 1.0) * faded(now_ms - seen_ms, _MIDDLE_TAU_MS)

    def measured(self, kind: Kind, now_ms: float) -> None:
        """A replica of a kind was measured: from the next `settle` on its pace counts in the middle."""
        self._measured[kind] = now_ms

    def settle(self, now_ms: float, paces: Callable[[Kind], list[float]]) -> None:
        """Bring both to a moment; `paces` are those of a kind's replicas that answered when last asked."""
        for kind, measured_ms in self._measured.items():
            if of_kind := paces(kind):
                self._middles[kind] = median(of_kind), measured_ms
        self._measured.clear()
        self._settled_middles = {kind: self.middle(kind, now_ms) for kind in self._middles}
        self._settled_usual = {pool: self.usual(pool, now_ms) for pool in self._usual}

    def settled_middle(self, kind: Kind) -> float:
        """The middle as of the moment settled to, whatever was heard since."""
        return self._settled_middles.get(kind, 1.0)

    def settled_usual(self, pool: str) -> float:
        """The usual foreign calls as of the moment settled to."""
        return self._settled_usual.get(pool, 0.0)

    def usual(self, pool: str, now_ms: float) -> float:
        """Foreign calls to expect on a replica of the pool that was not heard of."""
        if not self._forecast:
            return 0.0
        value, seen_ms = self._usual.get(pool, (0.0, 0.0))
        return value * faded(now_ms - seen_ms, _USUAL_TAU_MS)

    def heard(self, pool: str, foreign: float, now_ms: float) -> None:
        """A replica of the pool said how many foreign calls it holds."""
        before = self.usual(pool, now_ms)
        self._usual[pool] = before + (foreign - before) * _USUAL_GAIN, now_ms

    def export(self) -> dict[str, Any]:
        """The state as JSON can hold it."""
        return {
            "middles": [[*kind, *middle] for kind, middle in self._middles.items()],
            "measured": [[*kind, ms] for kind, ms in self._measured.items()],
            "usual": [[pool, *usual] for pool, usual in self._usual.items()],
        }

    def restore(self, state: dict[str, Any]) -> None:
        self._middles = {(pool, hardware): (value, ms) for pool, hardware, value, ms in state["middles"]}
        self._measured = {(pool, hardware): ms for pool, hardware, ms in state["measured"]}
        self._usual = {pool: (value, ms) for pool, value, ms in state["usual"]}
