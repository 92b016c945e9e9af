"""Follows the market of the owned symbols and hands out what its clock closes.

The contract with whoever feeds the market (`hub play` or a live collector):

* A *session* is one unbroken run of a feeder. It numbers the ticks of each symbol from 1.
* Before a session's first clock message the bars of its history are stored. That message carries the market
  time at which history ends; the slots of the session are those that close after it, at every boundary that
  the clock reaches, whether or not a tick fell in the bar.
* A session that has ended never speaks again; its late messages are ignored.

So a new session means: read the stored bars again and follow from their beginning. Nothing is missed in
between, because the feed keeps what it sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from random import Random
from typing import Any, NoReturn, cast

from deployments.forecaster.bar_store import BarStore
from deployments.forecaster.market import Closing, SymbolMarket
from messaging.ports import MarketFeed
from models.errors import MessagingError
from models.market import MarketClock, Tick
from models.metrics import Meter


class MarketIntake:
    """Owns the markets of the owned symbols; `on_close` gets each clock message that closed due bars.

    `bar_sizes` says which bars are wanted of each symbol that may come to be owned.
    """

    def __init__(
        self,
        feed: MarketFeed,
        bars: BarStore,
        bar_sizes: Mapping[str, Sequence[int]],
        *,
        on_close: Callable[[MarketClock, list[Closing]], None],
        rng: Random,
        meter: Meter,
        retry_s: float,
    ) -> None:
        self._feed = feed
        self._bars = bars
        self._bar_sizes = bar_sizes
        self._on_close = on_close
        self._rng = rng
        self._meter = meter
        self._retry_s = retry_s
        self._owned: dict[str, int] = {}
        self._markets: dict[str, SymbolMarket] = {}
        self._changed = asyncio.Event()
        self._ended: set[str] = set()
        self._session: str | None = None
        self._entered_ms: int | None = None
        self._start_ms: int | None = None
        self._clock: MarketClock | None = None

    def own(self, symbols: Mapping[str, int]) -> None:
        """Take symbols over, each from the last bar close in the log (0: the log knows none)."""
        self._owned.update(symbols)
        self._forget(symbols)

    def disown(self, symbols: Sequence[str]) -> None:
        """Let symbols go."""
        for symbol in symbols:
            self._owned.pop(symbol, None)
        self._forget(symbols)

    @property
    def ready(self) -> bool:
        """Whether what is stored of every owned symbol is read."""
        return self._owned.keys() == self._markets.keys()

    async def run(self) -> NoReturn:
        """Follow the owned symbols until cancelled; begin again when they or the session change."""
        while True:
            self._changed.clear()
            try:
                await self._until_changed()
            except MessagingError:
                await asyncio.sleep(self._retry_s * (0.5 + self._rng.random()))

    async def _until_changed(self) -> None:
        following = asyncio.create_task(self._follow())
        changed = asyncio.create_task(self._changed.wait())
        try:
            await asyncio.wait({following, changed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            following.cancel()
            changed.cancel()
            outcome, _ = await asyncio.gather(following, changed, return_exceptions=True)
        if isinstance(outcome, Exception):
            raise outcome

    async def _follow(self) -> None:
        """Read what is stored, then take messages until a new session begins."""
        if not self._owned:
            await self._changed.wait()
        for symbol in sorted(self._owned.keys() - self._markets.keys()):
            await self._load(symbol)
        following = self._feed.follow(sorted(self._owned), since_ms=self._since_ms())
        async with aclosing(cast("AsyncGenerator[Tick | MarketClock]", following)) as messages:
            async for message in messages:
                if message.session in self._ended:
                    continue
                if message.session != self._session:
                    self._enter(message)
                    return
                self._take(message)

    async def _load(self, symbol: str) -> None:
        stored = {bar_ms: await self._bars.load(symbol, bar_ms) for bar_ms in self._bar_sizes[symbol]}
        self._markets[symbol] = SymbolMarket(symbol, stored, since_ms=self._owned[symbol])

    def _since_ms(self) -> int | None:
        """From when on the feed is needed: after the bars that are known, or since the session was met."""
        known = [market.since_ms for market in self._markets.values()]
        return min((since_ms for since_ms in known if since_ms is not None), default=self._entered_ms)

    def _enter(self, message: Tick | MarketClock) -> None:
        """Begin a session: newer bars may be stored for it than those that were read."""
        if self._session is not None:
            self._ended.add(self._session)
        self._session = message.session
        self._entered_ms = message.ts_ms if isinstance(message, Tick) else message.now_ms
        self._start_ms = None
        self._markets.clear()

    def _take(self, message: Tick | MarketClock) -> None:
        if isinstance(message, Tick):
            self._add(message)
        else:
            self._tell(message)

    def _add(self, tick: Tick) -> None:
        market = self._markets.get(tick.symbol)  # None: disowned, and the feed does not know yet
        if market is not None:
            self._meter.count("hub_ticks_total", {"symbol": tick.symbol, "outcome": market.add(tick)})

    def _tell(self, clock: MarketClock) -> None:
        """Let the clock close bars; store the new ones, hand out those after the session's start."""
        self._clock = clock
        self._start_ms = start_ms = min(clock.now_ms, self._start_ms or clock.now_ms)
        closings: list[Closing] = []
        for symbol, market in self._markets.items():
            closed, lost = market.advance(clock)
            closings += closed
            self._meter.count("hub_ticks_total", {"symbol": symbol, "outcome": "lost"}, by=lost)
        for closing in closings:
            if not closing.stored:
                self._bars.put(closing.bar)
        due = [closing for closing in closings if closing.bar.close_ms > start_ms]
        if due:
            self._on_close(clock, due)

    def _forget(self, symbols: Collection[str]) -> None:
        for symbol in symbols:
            self._markets.pop(symbol, None)
        if symbols:
            self._changed.set()

    def status(self) -> dict[str, Any]:
        """Market time and when that was said, per symbol how far it is and which ticks were lost or late."""
        return {
            "session": self._session,
            "market_ms": self._clock.now_ms if self._clock else None,
            "clock_sent_ns": self._clock.sent_ns if self._clock else None,
            "symbols": {symbol: _status(market) for symbol, market in self._markets.items()},
            "waiting": [
                f"no history for {symbol} {bar_ms // 1000}s"
                for symbol, market in self._markets.items()
                for bar_ms in market.without_history
            ],
        }


def _status(market: SymbolMarket) -> dict[str, Any]:
    return {
        "last_close_ms": market.since_ms,
        "last_tick_ms": market.newest_ms,
        "ticks_missing": market.sequence.missing,
        "ticks_late": market.sequence.late,
        "ticks_repeated": market.sequence.duplicates,
        "ticks_refused": market.refused,
    }
