"""Forecasts of one (symbol, bar size) that wait until the market has passed their horizon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from models.evidence import Spread, Trial


@dataclass(frozen=True, slots=True)
class Waiting:
    """A forecast with its distribution, by the model that answered or by one that was asked beside it."""

    trial: Trial
    spread: Spread | None
    answered: bool


@dataclass(slots=True)
class Moment:
    """A close that forecasts start from, its price, and where the first of them lies in the log."""

    close_ms: int
    mid: float
    offset: int
    waiting: dict[int, dict[str, Waiting]] = field(default_factory=dict)

    def add(self, horizon_ms: int, one: Waiting) -> None:
        """Let it wait; of two by the same model the first counts."""
        self.waiting.setdefault(horizon_ms, {}).setdefault(one.trial.model, one)


@dataclass(frozen=True, slots=True)
class Passed:
    """A moment whose horizon has passed. `mid` is the price then; None if the log has a hole there."""

    moment: Moment
    horizon_ms: int
    waited: Sequence[Waiting]
    mid: float | None


class MarketWait:
    """The moments of one market. Prices are known at closes; between two of them it is the earlier one's."""

    def __init__(self, bar_ms: int) -> None:
        self._bar_ms = bar_ms
        self._moments: dict[int, Moment] = {}
        self._close_ms = -1
        self._mid = 0.0

    def reach(self, close_ms: int, mid: float) -> list[Passed]:
        """Move on to a close; what that passes, oldest first."""
        if close_ms <= self._close_ms:
            return []
        passed = [
            Passed(
                moment,
                horizon_ms,
                tuple(moment.waiting.pop(horizon_ms).values()),
                self._price(due_ms, close_ms, mid),
            )
            for moment in sorted(self._moments.values(), key=lambda moment: moment.close_ms)
            for horizon_ms in sorted(moment.waiting)
            if (due_ms := moment.close_ms + horizon_ms) <= close_ms
        ]
        self._moments = {close: moment for close, moment in self._moments.items() if moment.waiting}
        self._close_ms, self._mid = close_ms, mid
        return passed

    def passed(self, close_ms: int) -> bool:
        """Whether the market is beyond this moment already."""
        return self._close_ms >= close_ms

    def moment(self, close_ms: int, mid: float, offset: int) -> Moment:
        """The moment at a close; it counts from when the first forecast waits in it."""
        return self._moments.setdefault(close_ms, Moment(close_ms, mid, offset))

    def first_offset(self) -> int | None:
        """Where the first forecast that waits lies in the log."""
        return min((moment.offset for moment in self._moments.values()), default=None)

    def _price(self, due_ms: int, close_ms: int, mid: float) -> float | None:
        if due_ms == close_ms:
            return mid
        known = 0 <= due_ms - self._close_ms < self._bar_ms and self._close_ms >= 0
        return self._mid if known else None
