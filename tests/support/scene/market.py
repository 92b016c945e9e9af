"""Real ticks played to NATS, whatever becomes of it: what cannot be sent is dropped, as the contract asks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from messaging.config import NatsConfig
from messaging.connect import open_feed
from messaging.ports import MarketFeed
from models.errors import BrokerUnavailable
from models.market import MarketClock, Tick
from models.task import WINDOW
from serve_app.demo.scene import EXAMPLE_TICKS
from serve_app.playback import Plan, Progress, history, play, seed_history
from serve_app.ticks import load_ticks, tick_option

TICKS = EXAMPLE_TICKS


class Market:
    """One playback, opened once. `burst`: how many ticks are sent for each recorded one, from now on.

    `numbered` counts the ticks of each symbol that should have been sent, `dropped` those that were not.
    """

    def __init__(self, nats: str, *, bar_ms: int, speed: float) -> None:
        self.burst = 1
        self.numbered: Counter[str] = Counter()
        self.dropped = 0
        self._config = NatsConfig(servers=(nats,))
        self._files = load_ticks(tick_option(text) for text in TICKS)
        self._bar_ms = bar_ms
        self._speed = speed
        self._plan: Plan | None = None
        self._began_ns = 0

    async def open(self, seconds: float) -> None:
        """Plan to play for so long, and store the bars before the start."""
        spans = {symbol: file.span for symbol, file in self._files.items()}
        self._plan = Plan.of(spans, bar_sizes={self._bar_ms}, seconds=seconds, speed=self._speed)
        async with self._feed("history") as feed:
            await seed_history(feed, history(self._files, self._plan), keep=WINDOW + 1)

    async def play(self) -> None:
        """All of it, by the clock."""
        session = f"scene-{time.time_ns():x}"
        async with self._feed("feeder") as feed:
            outlet = _Dropping(feed, self)
            await play(
                outlet, self._files, self.plan, session=session, clock=time.time_ns, progress=Progress()
            )

    @property
    def plan(self) -> Plan:
        assert self._plan, "the market is not open"
        return self._plan

    def due_ms(self, close_ms: int) -> int:
        """Wall time at which a bar closes, whether or not anybody was told."""
        elapsed_ms = (close_ms - self.plan.start_ms) / self.plan.speed
        return int(self._began_ns / 1e6 + elapsed_ms)

    def next_due_s(self) -> float:
        """Seconds until the next bar closes."""
        every_s = self._bar_ms / 1000 / self._speed
        return every_s - (time.time_ns() / 1e9 - self.due_ms(0) / 1000) % every_s

    def began(self) -> None:
        """The first clock message is on its way; later calls change nothing."""
        self._began_ns = self._began_ns or time.time_ns()

    @asynccontextmanager
    async def _feed(self, name: str) -> AsyncIterator[MarketFeed]:
        feed = await open_feed(self._config, name=name)
        try:
            yield feed
        finally:
            await feed.close()


class _Dropping:
    """Numbers the ticks itself, so that a burst or a dropped one has its number in the sequence."""

    def __init__(self, feed: MarketFeed, market: Market) -> None:
        self._feed = feed
        self._market = market

    async def publish_tick(self, tick: Tick) -> None:
        for _ in range(self._market.burst):
            self._market.numbered[tick.symbol] += 1
            numbered = replace(tick, seq=self._market.numbered[tick.symbol])
            try:
                await self._feed.publish_tick(numbered)
            except BrokerUnavailable:
                self._market.dropped += 1

    async def publish_clock(self, clock: MarketClock) -> None:
        self._market.began()
        try:
            await self._feed.publish_clock(replace(clock, sequences=dict(self._market.numbered)))
        except BrokerUnavailable:
            return
