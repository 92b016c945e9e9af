"""How long a run of so many rows takes here: the card's warm profile, corrected by what runs really took."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from models.card import WarmProfile
from routing.latency import warm_at

_GAIN: Final = 0.2


class RunTimes:
    """Predicted times of one model's runs, milliseconds. Belongs to one event loop.

    A correction, and not a table by rows: what slows a machine down slows every size of run.
    """

    def __init__(self, profiles: Sequence[WarmProfile]) -> None:
        self._profiles = profiles
        self._warm: dict[int, tuple[float, float]] = {}
        self._slowdown = 1.0

    def warm_ms(self, rows: int) -> float:
        """What such a run takes by the card; infinite for a model that was never measured."""
        return self._warm_at(rows)[0]

    def usual_ms(self, rows: int) -> float:
        """What such a run takes as a rule."""
        return self.warm_ms(rows) * self._slowdown

    def high_ms(self, rows: int) -> float:
        """What such a run takes at the warm profile's p99: deadlines are held against this."""
        p50_ms, tail = self._warm_at(rows)
        return p50_ms * tail * self._slowdown

    def observe(self, rows: int, took_ms: float) -> None:
        """Take one run into account."""
        p50_ms = self.warm_ms(rows)
        if math.isfinite(p50_ms) and took_ms > 0:
            self._slowdown += (took_ms / p50_ms - self._slowdown) * _GAIN

    def _warm_at(self, rows: int) -> tuple[float, float]:
        if rows not in self._warm:
            self._warm[rows] = warm_at(self._profiles, rows) or (math.inf, 1.0)
        return self._warm[rows]
