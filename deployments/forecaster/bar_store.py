"""New bars into the feed, in order, off the path of the predictions.

Every bar is written only if its subject stands where this owner left it. A refusal means that somebody else
writes bars of the symbol: what is stored wins, and the owner has its claim on the symbol judged by the log.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random
from typing import NoReturn

from messaging.ports import MarketFeed
from messaging.subjects import BARS_KEPT
from models.errors import MessagingError, StaleWriter
from models.market import Bar


class BarStore:
    """Owns the queue of bars to be stored and the last sequence of each subject.

    `on_stale` is told the symbol of which somebody else has stored a bar. Whatever still waits up to that bar
    is dropped with it: it would be stored a second time, behind its own successors.
    """

    def __init__(
        self, feed: MarketFeed, *, on_stale: Callable[[str], None], rng: Random, retry_s: float
    ) -> None:
        self._feed = feed
        self._on_stale = on_stale
        self._rng = rng
        self._retry_s = retry_s
        self._waiting: deque[Bar] = deque()
        self._arrived = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._sequences: dict[tuple[str, int], int] = {}
        self._passed_ms: dict[tuple[str, int], int] = {}

    async def load(self, symbol: str, bar_ms: int) -> list[Bar]:
        """All bars that are kept, oldest first, once nothing of ours is on its way."""
        await self._empty.wait()
        bars, sequence = await self._feed.bars(symbol, bar_ms, limit=BARS_KEPT)
        self._sequences[symbol, bar_ms] = sequence
        self._passed_ms.pop((symbol, bar_ms), None)
        return bars

    def put(self, bar: Bar) -> None:
        """Store the bar soon, after all put before."""
        self._waiting.append(bar)
        self._empty.clear()
        self._arrived.set()

    async def run(self) -> NoReturn:
        """Store what is put, until cancelled; what cannot be stored now is tried again."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                await self._store_next()
            self._empty.set()

    async def _store_next(self) -> None:
        try:
            await self._store(self._waiting[0])
        except MessagingError:
            await asyncio.sleep(self._retry_s * (0.5 + self._rng.random()))
        else:
            self._waiting.popleft()

    async def _store(self, bar: Bar) -> None:
        subject = bar.symbol, bar.bar_ms
        if bar.close_ms <= self._passed_ms.get(subject, -1):
            return
        try:
            self._sequences[subject] = await self._feed.put_bar(bar, after=self._sequences[subject])
        except StaleWriter:
            self._on_stale(bar.symbol)
            stored, self._sequences[subject] = await self._feed.bars(bar.symbol, bar.bar_ms, limit=1)
            self._passed_ms[subject] = stored[-1].close_ms if stored else -1
            if self._passed_ms[subject] < bar.close_ms:
                raise
