"""The market of a simulated world: a feeder that plays bars, a router that answers like a distant pool."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from messaging.memory import MemoryFeed
from models.answer import Answer
from models.errors import ReplicaLost
from models.market import Bar, MarketClock, Tick
from models.request import Requirements
from models.task import WINDOW
from tests.unit.signals.records import LINEAGE, forecast

BAR_MS: Final = 10_000
MARKET_MS: Final = 1_400_000_000_000


@dataclass(frozen=True)
class Playback:
    """One bar of every symbol each `period_s` of wall time, `count` of them, from `begin_s` on."""

    strategies: Sequence[str]
    symbols: Sequence[str]
    begin_s: float
    period_s: float
    count: int

    def due(self) -> list[tuple[str, str, int]]:
        """Every slot that the played bars make due."""
        closes = [MARKET_MS + number * BAR_MS for number in range(1, self.count + 1)]
        return [
            (ref, symbol, close) for close in closes for symbol in self.symbols for ref in self.strategies
        ]


async def play(playback: Playback, feed: MemoryFeed, *, clock: Callable[[], int], rng: Random) -> None:
    """Store the history, then tell the market bar by bar."""
    for symbol in playback.symbols:
        for index in range(WINDOW + 1):
            price = 1.1 + (index % 7) * 1e-4
            close_ms = MARKET_MS - (WINDOW - index) * BAR_MS
            bar = Bar(symbol, BAR_MS, close_ms, price, price, price, price, 1e-4, 1)
            await feed.put_bar(bar, after=None)
    await asyncio.sleep(playback.begin_s)
    sequences = dict.fromkeys(playback.symbols, 0)
    await feed.publish_clock(MarketClock(MARKET_MS, "s1", clock(), dict(sequences)))
    for number in range(1, playback.count + 1):
        await asyncio.sleep(playback.period_s)
        close_ms = MARKET_MS + number * BAR_MS
        for symbol in playback.symbols:
            sequences[symbol] += 1
            price = 1.1 + rng.gauss(0, 1e-4)
            tick = Tick(symbol, close_ms - BAR_MS // 2, price, price + 1e-4, sequences[symbol], "s1", clock())
            await feed.publish_tick(tick)
        await feed.publish_clock(MarketClock(close_ms, "s1", clock(), dict(sequences)))


class DistantRouter:
    """Answers after a while; now and then a replica is lost on the way."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    async def infer(
        self,
        requirements: Requirements,
        window: NDArray[np.float32],
        context: NDArray[np.float32],
        *,
        traceparent: str,
        unit: str = "",
    ) -> Answer:
        assert len(window) == len(context) == requirements.rows
        assert traceparent
        await asyncio.sleep(self._rng.choice((0.002, 0.01, 0.01, 0.1)))
        if self._rng.random() < 0.03:
            raise ReplicaLost("the replica went away")
        rows = [forecast(float(row[-1])) for row in window]
        no_decision = cast("Any", None)
        return Answer(forecasts=rows, decision=no_decision, lineage=LINEAGE, stages={})
