"""How long models take to be loaded here, as measured, and what a call takes that waits for such a load."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from functools import partial
from statistics import median
from typing import Final

from models.card import WarmProfile
from routing.latency import Ratios, sigma_of

_KEPT: Final = 5
_TAIL: Final = 3.0
"""p99 / p50 of loads before any model was loaded twice."""


class LoadTimes:
    """Each model's last loads, milliseconds, and how far loads of one model lie from each other."""

    def __init__(self) -> None:
        self._last: defaultdict[str, deque[float]] = defaultdict(partial(deque, maxlen=_KEPT))
        self._ratios = Ratios(sigma_of(_TAIL), level=0.99)

    def took(self, model: str, load_ms: float) -> None:
        """A load has ended."""
        if last := self._last[model]:
            self._ratios.observe(load_ms / median(last))
        last.append(load_ms)

    def usual_ms(self, model: str) -> float:
        """What a load of the model takes as a rule; 0 if it was never loaded."""
        return median(self._last[model]) if model in self._last else 0.0

    def forget(self, model: str) -> None:
        self._last.pop(model, None)

    def cold(self, model: str, warm: Sequence[WarmProfile]) -> list[WarmProfile]:
        """The warm profile of a call that has to wait for the load first."""
        usual_ms, loads = self.usual_ms(model), len(self._last[model])
        high_ms = usual_ms * self._ratios.spread.tail
        return [
            WarmProfile(rows=one.rows, p50_ms=usual_ms + one.p50_ms, p99_ms=high_ms + one.p99_ms, n=loads)
            for one in warm
        ]
