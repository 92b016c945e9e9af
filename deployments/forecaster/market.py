"""One symbol's market: ticks and the market clock in, closed bars with their windows out. No I/O.

A new owner starts with the bars its predecessors stored. The clock releases those of them that lie after
`since_ms` again, as if it had built them, and goes on with bars built from ticks; so the owner passes every
close that its predecessor may have missed, in order, with the window of that moment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.market import Bar, MarketClock, Tick
from models.prediction import ReferencePrice
from signals.bars import BarBuilder
from signals.ticks import TickOrder, TickSequence
from signals.windows import RollingWindow, Window


@dataclass(frozen=True, slots=True)
class Closing:
    """A bar at the moment the clock closed it. `window` is None while too few returns are known; `asof_ms` is
    the newest tick used, at the latest; `stored` if the feed has the bar already.
    """

    bar: Bar
    window: Window | None
    asof_ms: int
    stored: bool

    @property
    def reference(self) -> ReferencePrice:
        """The quote at the close, from its mid and spread."""
        half = self.bar.spread / 2
        return ReferencePrice(bid=self.bar.close - half, ask=self.bar.close + half, ts_ms=self.asof_ms)


class SymbolMarket:
    """Ticks of one symbol into bars of every size in `stored`, which holds the bars the feed has of each.

    `since_ms` is the last close that was dealt with; 0: the clock releases all that is stored.
    """

    def __init__(self, symbol: str, stored: Mapping[int, Sequence[Bar]], *, since_ms: int) -> None:
        self.symbol = symbol
        self.sequence = TickSequence()
        self.refused = 0
        self.newest_ms: int | None = None
        self._frames = {
            bar_ms: _Frame(symbol, bar_ms, bars, since_ms=since_ms) for bar_ms, bars in stored.items()
        }
        self._stored_ms = min((bars[-1].close_ms for bars in stored.values() if bars), default=0)

    @property
    def since_ms(self) -> int | None:
        """From which market time on the feed is needed; None without any history: from now."""
        return min(
            (frame.since_ms for frame in self._frames.values() if frame.since_ms is not None), default=None
        )

    @property
    def without_history(self) -> list[int]:
        """The bar sizes of which not even one bar is known."""
        return [bar_ms for bar_ms, frame in self._frames.items() if frame.since_ms is None]

    def add(self, tick: Tick) -> str:
        """Put a tick into its bars; what became of it, as a label: where it stands in its sequence, `stored`
        if its bars are stored already, `refused` if it went back in time or is no quote.
        """
        order = self.sequence.observe(tick.session, tick.seq)
        if order is TickOrder.DUPLICATE:
            return order.value
        if tick.ts_ms < self._stored_ms:
            return "stored"
        self.newest_ms = max(tick.ts_ms, self.newest_ms or 0)
        taken = [frame.add(tick) for frame in self._frames.values()]
        if any(taken):
            return order.value
        self.refused += 1
        return "refused"

    def advance(self, clock: MarketClock) -> tuple[list[Closing], int]:
        """What the clock closes, oldest first, and how many ticks it shows to be missing."""
        lost = self.sequence.observe_clock(clock.session, clock.sequences.get(self.symbol, 0))
        closings = [one for frame in self._frames.values() for one in frame.close_until(clock.now_ms)]
        return sorted(closings, key=lambda closing: closing.bar.close_ms), lost


class _Frame:
    """Bars and the window of one (symbol, bar size)."""

    def __init__(self, symbol: str, bar_ms: int, stored: Sequence[Bar], *, since_ms: int) -> None:
        run = _latest_run(stored)
        known_ms = max(since_ms, run[0].close_ms if run else 0)
        self._window = RollingWindow()
        self._stored = deque(bar for bar in run if bar.close_ms > known_ms)
        self._builder = BarBuilder.after(run[-1]) if run else BarBuilder(symbol, bar_ms)
        self._newest_ms = self._asof_ms = -1
        self._joined = False
        for bar in run:
            if bar.close_ms <= known_ms:
                self._take(bar)

    @property
    def since_ms(self) -> int | None:
        """Close of the newest bar in the window: everything after it is still needed."""
        return self._window.last_close_ms

    def add(self, tick: Tick) -> bool:
        taken = self._builder.add(tick)
        if taken:
            self._newest_ms = tick.ts_ms
        return taken

    def close_until(self, now_ms: int) -> list[Closing]:
        """Release the stored bars that the clock has reached, then build the others."""
        self._join(now_ms)
        closings = []
        while self._stored and self._stored[0].close_ms <= now_ms:
            closings.append(self._closing(self._stored.popleft(), stored=True))
        closings += [self._closing(bar, stored=False) for bar in self._builder.close_until(now_ms)]
        return closings

    def _join(self, now_ms: int) -> None:
        """Where the feed resumes after the bars end, ticks are lost: start again rather than invent bars."""
        last_ms = self._builder.last_close_ms
        if not self._joined and last_ms is not None and now_ms > last_ms + self._builder.bar_ms:
            self._builder = BarBuilder(self._builder.symbol, self._builder.bar_ms)
        self._joined = True

    def _closing(self, bar: Bar, *, stored: bool) -> Closing:
        self._take(bar)
        return Closing(bar=bar, window=self._window.window(), asof_ms=self._asof_ms, stored=stored)

    def _take(self, bar: Bar) -> None:
        self._window.add(bar)
        if bar.ticks:
            in_bar = bar.close_ms - bar.bar_ms <= self._newest_ms < bar.close_ms
            self._asof_ms = self._newest_ms if in_bar else bar.close_ms - 1


def _latest_run(bars: Sequence[Bar]) -> list[Bar]:
    """The bars since market time last went back: those before belong to an earlier playback."""
    run: list[Bar] = []
    for bar in bars:
        if run and bar.close_ms <= run[-1].close_ms:
            run.clear()
        run.append(bar)
    return run
