"""How fast places become free, and how long an admitted request keeps one: what a wait is predicted from.

Both are measured from admission to answer, so they contain whatever happens in between: the way, the queue on
the replica, the service. The time a request needs is a split-conformal quantile of the last ones of its kind.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from models.request import Priority, Requirements

KEPT: Final = 32
"""Requests of one kind whose times are kept."""
KINDS_KEPT: Final = 64
_GAIN: Final = 0.05
_LEAST_SHARE: Final = 0.02
_CRITICAL: Final = Priority.CRITICAL

Kind = tuple[str, str]
"""Task and data size: requests of a kind take comparable times."""


def kind_of(wanted: Requirements) -> Kind:
    """The kind of a request."""
    return wanted.task, wanted.data_size


class Turnover:
    """What was measured of admitted requests; times in milliseconds."""

    def __init__(self, *, level: float) -> None:
        self._level = level
        self._mean_ms = 0.0
        self._critical_share = 0.0
        self._held: dict[Kind, deque[float]] = {}
        self._needed: dict[Kind, float] = {}

    def admitted(self, priority: Priority) -> None:
        """One more got a place."""
        self._critical_share += _GAIN * ((priority is _CRITICAL) - self._critical_share)

    def held(self, kind: Kind, held_ms: float) -> None:
        """One gave its place back, having had it for so long."""
        self._mean_ms += (held_ms - self._mean_ms) * (_GAIN if self._mean_ms else 1.0)
        last = self._held.get(kind)
        if last is None:
            if len(self._held) >= KINDS_KEPT:
                self._held.clear()
            last = self._held[kind] = deque(maxlen=KEPT)
        last.append(held_ms)
        if self._needed:
            self._needed.pop(kind, None)

    def needed_ms(self, kind: Kind) -> float:
        """What an admitted request of the kind stays within at the level; 0 while none was measured."""
        needed_ms = self._needed.get(kind)
        if needed_ms is None:
            needed_ms = self._needed[kind] = self._quantile(self._held.get(kind))
        return needed_ms

    def wait_ms(self, priority: Priority, *, before: int, same: int, places: int) -> float:
        """Predicted time until a place is free for a request behind `before` of a higher class and `same` of
        its own. Those of a higher class that are still to come take their usual share meanwhile.
        """
        each_ms = self._mean_ms / places
        share = 1.0 if priority is _CRITICAL else max(_LEAST_SHARE, 1.0 - self._critical_share)
        return each_ms * (before + (same + 1) / share)

    def _quantile(self, last: deque[float] | None) -> float:
        if not last:
            return 0.0
        ordered = sorted(last)
        return ordered[min(math.ceil((len(ordered) + 1) * self._level), len(ordered)) - 1]
