"""Ticks to bars, driven by the market clock.

A bar covers [close - bar_ms, close): a tick at a boundary belongs to the next bar. A bar is closed when
the market clock reaches its close, never by the next tick, so every symbol owes a bar at every boundary:
one without ticks repeats the last mid and spread. The running system and training use this same class.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Self

from models.market import Bar, Tick


def first_close(ts_ms: int, bar_ms: int) -> int:
    """Close of the bar that a tick at `ts_ms` belongs to."""
    return (ts_ms // bar_ms + 1) * bar_ms


@dataclass(slots=True)
class _OpenBar:
    close_ms: int
    open: float
    high: float
    low: float
    last: float
    spread: float
    ticks: int

    def add(self, tick: Tick) -> None:
        mid = tick.mid
        self.high = max(self.high, mid)
        self.low = min(self.low, mid)
        self.last = mid
        self.spread = tick.ask - tick.bid
        self.ticks += 1


class BarBuilder:
    """Bars of one (symbol, bar_ms).

    `refused` counts ticks that changed nothing: they went back in time, or hold no valid quote. Nothing is
    owed before the first tick. Ticks may run ahead of the clock: their bars wait for it.
    """

    def __init__(self, symbol: str, bar_ms: int) -> None:
        self.symbol = symbol
        self.bar_ms = bar_ms
        self.refused = 0
        self._newest_ms = -1
        self._open: deque[_OpenBar] = deque()
        self._last: Bar | None = None

    @classmethod
    def after(cls, bar: Bar) -> Self:
        """A builder that goes on after a stored bar; feed it the ticks since, older ones are refused."""
        builder = cls(bar.symbol, bar.bar_ms)
        builder._last = bar
        builder._newest_ms = bar.close_ms
        return builder

    @property
    def last_close_ms(self) -> int | None:
        """Close of the last bar handed out."""
        return self._last.close_ms if self._last else None

    def add(self, tick: Tick) -> bool:
        """Put a tick into its bar; False if it is refused."""
        if tick.ts_ms < self._newest_ms or not 0 < tick.bid <= tick.ask < math.inf:
            self.refused += 1
            return False
        self._newest_ms = tick.ts_ms
        self._bar_of(tick).add(tick)
        return True

    def close_until(self, now_ms: int) -> list[Bar]:
        """Every bar whose close the market clock has reached, oldest first, empty ones included."""
        bars: list[Bar] = []
        while (close_ms := self._next_close()) is not None and close_ms <= now_ms:
            self._last = self._close(close_ms)
            self._newest_ms = max(self._newest_ms, close_ms)
            bars.append(self._last)
        return bars

    def _bar_of(self, tick: Tick) -> _OpenBar:
        close_ms = first_close(tick.ts_ms, self.bar_ms)
        if not self._open or self._open[-1].close_ms < close_ms:
            mid = tick.mid
            self._open.append(_OpenBar(close_ms, mid, mid, mid, mid, tick.ask - tick.bid, 0))
        return self._open[-1]

    def _next_close(self) -> int | None:
        if self._last is not None:
            return self._last.close_ms + self.bar_ms
        return self._open[0].close_ms if self._open else None

    def _close(self, close_ms: int) -> Bar:
        if self._open and self._open[0].close_ms == close_ms:
            bar = self._open.popleft()
            return Bar(
                symbol=self.symbol,
                bar_ms=self.bar_ms,
                close_ms=close_ms,
                open=bar.open,
                high=bar.high,
                low=bar.low,
                close=bar.last,
                spread=bar.spread,
                ticks=bar.ticks,
            )
        return self._empty(close_ms)

    def _empty(self, close_ms: int) -> Bar:
        assert self._last is not None  # noqa: S101 - the first bar always has a tick
        mid = self._last.close
        return Bar(
            symbol=self.symbol,
            bar_ms=self.bar_ms,
            close_ms=close_ms,
            open=mid,
            high=mid,
            low=mid,
            close=mid,
            spread=self._last.spread,
            ticks=0,
        )
