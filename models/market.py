"""Ticks, the market clock and bars as they travel on NATS.

Market time (`*_ms`) is what strategies, bars and horizons are measured in; wall time (`*_ns`) is what
latency and expiry are measured in. Playback runs market time faster than wall time.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tick:
    """A quote. `seq` counts ticks of this symbol from 1 without gaps in one `session` of the feeder."""

    symbol: str
    ts_ms: int
    bid: float
    ask: float
    seq: int
    session: str
    sent_ns: int

    @property
    def mid(self) -> float:
        return (self.bid + self.ask) / 2


@dataclass(frozen=True, slots=True)
class MarketClock:
    """Every tick of the feeder up to and including market time `now_ms` has been sent before this.

    `sequences` holds the last `seq` sent per symbol, so that a tick lost at the end is seen as a gap.
    """

    now_ms: int
    session: str
    sent_ns: int
    sequences: dict[str, int]


@dataclass(frozen=True, slots=True)
class Bar:
    """Mid prices over [close_ms - bar_ms, close_ms). An empty bar repeats the last mid with `ticks` 0."""

    symbol: str
    bar_ms: int
    close_ms: int
    open: float
    high: float
    low: float
    close: float
    spread: float
    ticks: int
