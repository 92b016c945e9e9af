"""How a model did over time: one point for so many clusters."""

from __future__ import annotations

from collections import deque
from typing import Final

from models.evidence import Stretch
from models.task import INTERVAL_LEVELS
from routing.evidence import clusters as at
from routing.evidence.clusters import Vector

SHOWN: Final = (0.90, 0.95)
"""The levels whose coverage is kept."""


class History:
    """Keeps the latest points, oldest first."""

    def __init__(self, *, stretch_ms: int, kept: int) -> None:
        self._stretch_ms = stretch_ms
        self._points: deque[tuple[int, Vector]] = deque(maxlen=kept)

    def add(self, sums: Vector, at_ms: int) -> None:
        """Add a cluster that ended at `at_ms`."""
        from_ms = (at_ms - 1) // self._stretch_ms * self._stretch_ms
        if self._points and self._points[-1][0] == from_ms:
            self._points[-1][1].__iadd__(sums)
        else:
            self._points.append((from_ms, sums.copy()))

    def stretches(self) -> tuple[Stretch, ...]:
        return tuple(self._stretch(from_ms, sums) for from_ms, sums in self._points)

    def _stretch(self, from_ms: int, sums: Vector) -> Stretch:
        n, control = float(sums[at.COUNT]), float(sums[at.CONTROL_LOSS])
        return Stretch(
            from_ms=from_ms,
            to_ms=from_ms + self._stretch_ms,
            n=int(n),
            coverage={
                f"{level:.2f}": round(float(sums[at.INSIDE[INTERVAL_LEVELS.index(level)]]) / n, 4)
                for level in SHOWN
            },
            skill=round(1 - float(sums[at.PAIRED_LOSS]) / control, 4) if control > 0 else None,
        )
