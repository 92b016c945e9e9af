"""How far observed coverage is off what was promised, with errors that know that windows overlap."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import numpy as np

from benchmarks.covering.replay import Seen
from models.task import INTERVAL_LEVELS
from training.evidence import clustered_error

LEVELS: Final = (0.90, 0.95)
ROLLING: Final = 5_000
"""Outcomes of a rolling window."""
STRIDE: Final = 100
_HOUR_MS: Final = 3_600_000


class Off(NamedTuple):
    """Promised against observed coverage of `n` outcomes; `error` is the standard error of `observed`,
    clustered by hour of market time as on cards.
    """

    promised: float
    observed: float
    error: float
    n: int

    @property
    def off(self) -> float:
        return abs(self.observed - self.promised)

    @property
    def excess(self) -> float:
        """How far it is off beyond two standard errors; at least 0."""
        return max(0.0, self.off - 2.0 * self.error)


def off_of(seen: Seen, level: float) -> Off:
    """Coverage of all these outcomes."""
    held = (seen.inside <= INTERVAL_LEVELS.index(level)).astype(np.float64)
    error = clustered_error(held, seen.close_ms // _HOUR_MS)
    return Off(level, float(held.mean()), error, len(held))


def rolling(seen: Seen, level: float) -> Iterator[Off]:
    """Coverage of every `ROLLING` outcomes in a row, `STRIDE` outcomes apart; none with fewer outcomes."""
    for first in range(0, len(seen.inside) - ROLLING + 1, STRIDE):
        yield off_of(seen.part(first, first + ROLLING), level)


def after(seen: Seen, at_ms: int, *, skipped: int, counted: int) -> Seen:
    """The outcomes of forecasts made from `at_ms` on, without the first `skipped`; `counted` of them."""
    first = int(np.searchsorted(seen.close_ms, at_ms)) + skipped
    return seen.part(first, first + counted)


def worst(offs: Iterable[Off]) -> tuple[float, float]:
    """The largest excess and the largest distance, of one and the same or of two."""
    found = [(one.excess, one.off) for one in offs]
    return max(excess for excess, _ in found), max(off for _, off in found)
