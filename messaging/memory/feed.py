"""`MarketFeed` in memory: ticks and clock in one order, bars with a sequence per subject."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from random import Random

from messaging.memory.faults import Faults
from messaging.memory.process import Process
from messaging.subjects import BARS_KEPT, bar_subject
from models.errors import BrokerUnavailable, StaleWriter
from models.market import Bar, MarketClock, Tick


class MemoryMarket:
    """The server's state: kept market messages, bars per subject, and whether it can be reached."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.faults = Faults()
        self.messages: list[Tick | MarketClock] = []
        self.bars: dict[str, list[Bar]] = {}
        self.sequences: dict[str, int] = {}
        self.published: list[tuple[str, bytes]] = []
        self.up = True
        self._listeners: dict[str, list[asyncio.Queue[bytes]]] = {}
        self._followers: dict[asyncio.Event, None] = {}  # woken in order

    def stop(self) -> None:
        """Be unreachable until `start`: publishing raises at once, followers wait."""
        self.up = False

    def start(self) -> None:
        self.up = True
        self._wake()

    def send(self, message: Tick | MarketClock) -> None:
        """Keep a message for followers; a tick may be dropped on the way by a fault."""
        if isinstance(message, MarketClock) or self.rng.random() >= self.faults.drop_tick:
            self.messages.append(message)
            self._wake()

    def tell(self, subject: str, payload: bytes) -> None:
        """Word to those who listen now."""
        for heard in self._listeners.get(subject, ()):
            heard.put_nowait(payload)

    def listen(self, subject: str) -> asyncio.Queue[bytes]:
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        self._listeners.setdefault(subject, []).append(heard)
        return heard

    def leave(self, subject: str, heard: asyncio.Queue[bytes]) -> None:
        self._listeners[subject].remove(heard)

    def follower(self) -> asyncio.Event:
        event = asyncio.Event()
        self._followers[event] = None
        return event

    def unfollow(self, event: asyncio.Event) -> None:
        self._followers.pop(event, None)

    def _wake(self) -> None:
        for event in self._followers:
            event.set()


class MemoryFeed:
    """One process's connection to a `MemoryMarket`."""

    def __init__(self, market: MemoryMarket, process: Process) -> None:
        self._market = market
        self._process = process

    async def publish_tick(self, tick: Tick) -> None:
        await self._reach()
        self._market.send(tick)

    async def publish_clock(self, clock: MarketClock) -> None:
        await self._reach()
        self._market.send(clock)

    async def follow(
        self, symbols: Sequence[str], *, since_ms: int | None
    ) -> AsyncIterator[Tick | MarketClock]:
        wanted = frozenset(symbols)
        at = len(self._market.messages) if since_ms is None else 0
        grown = self._market.follower()
        try:
            while True:
                grown.clear()
                while self._market.up and at < len(self._market.messages):
                    message = self._market.messages[at]
                    at += 1
                    if _concerns(message, wanted, since_ms):
                        await self._process.turn()
                        yield message
                await grown.wait()
                await asyncio.sleep(self._market.faults.delay(self._market.rng))
        finally:
            self._market.unfollow(grown)

    async def put_bar(self, bar: Bar, *, after: int | None) -> int:
        await self._process.step(f"put_bar {bar.symbol} {bar.close_ms}")
        await self._reach()
        subject = bar_subject(bar.symbol, bar.bar_ms)
        last = self._market.sequences.get(subject, 0)
        if after is not None and after != last:
            raise StaleWriter(
                f"{subject} was written up to {last} by another, expected {after}; bars must be read again"
            )
        self._market.bars[subject] = [*self._market.bars.get(subject, []), bar][-BARS_KEPT:]
        self._market.sequences[subject] = last + 1
        await self._process.turn()
        return last + 1

    async def bars(self, symbol: str, bar_ms: int, *, limit: int) -> tuple[list[Bar], int]:
        await self._reach()
        subject = bar_subject(symbol, bar_ms)
        return self._market.bars.get(subject, [])[-limit:], self._market.sequences.get(subject, 0)

    async def publish(self, subject: str, payload: bytes) -> None:
        await self._reach()
        self._market.published.append((subject, payload))

    async def ping(self, *, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._reach()
        except TimeoutError:
            raise BrokerUnavailable(f"the market feed did not answer within {timeout_s} s") from None

    async def close(self) -> None:
        """Nothing to give back."""

    async def _reach(self) -> None:
        await self._process.turn()
        await asyncio.sleep(self._market.faults.delay(self._market.rng))
        if not self._market.up:
            raise BrokerUnavailable(
                "the market feed is not connected; ticks are not buffered, send newer ones later"
            )


def _concerns(message: Tick | MarketClock, symbols: frozenset[str], since_ms: int | None) -> bool:
    """Whether a follower asked for the message. The clock is everybody's."""
    if isinstance(message, MarketClock):
        return since_ms is None or message.now_ms >= since_ms
    return message.symbol in symbols and (since_ms is None or message.ts_ms >= since_ms)
