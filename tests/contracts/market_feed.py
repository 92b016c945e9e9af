"""What every `MarketFeed` must do; `test_market_feed.py` runs it in memory and on a NATS server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Protocol

import pytest

from messaging.ports import MarketFeed
from messaging.subjects import BARS_KEPT
from models.errors import BrokerUnavailable, StaleWriter
from models.market import Bar, MarketClock, Tick
from tests.support.eventually import eventually

Item = Tick | MarketClock


class Market(Protocol):
    """A market of its own for a test; `away` makes its server unreachable for a while."""

    def away(self) -> AbstractAsyncContextManager[None]: ...


def tick(symbol: str, seq: int, *, ts_ms: int = 1000) -> Tick:
    """A quote that its sequence tells apart."""
    return Tick(symbol, ts_ms, bid=1.1, ask=1.2, seq=seq, session="s", sent_ns=seq)


def clock(now_ms: int) -> MarketClock:
    """Market time."""
    return MarketClock(now_ms, session="s", sent_ns=now_ms, sequences={"EURUSD": 3})


def bar(symbol: str, close_ms: int) -> Bar:
    """A bar that its close tells apart."""
    return Bar(symbol, 1000, close_ms, open=1.0, high=1.5, low=0.5, close=1.25, spread=0.1, ticks=7)


async def take(stream: AsyncIterator[Item], count: int) -> list[Item]:
    """The next items, within ten seconds."""
    async with asyncio.timeout(10):
        return [await anext(stream) for _ in range(count)]


@asynccontextmanager
async def following(
    feed: MarketFeed, symbols: list[str], *, since_ms: int | None
) -> AsyncIterator[AsyncIterator[Item]]:
    """A stream that is closed in the end."""
    stream = feed.follow(symbols, since_ms=since_ms)
    async with aclosing(stream):  # type: ignore[type-var]
        yield stream


class MarketFeedContract:
    """Subclasses give the fixtures `market`, and `feed` and `other` on it. Nothing is in it at first."""

    @pytest.fixture
    def symbol(self, unique: Callable[[str], str]) -> str:
        """A symbol no other test uses."""
        return "S" + unique("")[-8:].upper()

    async def test_ticks_and_clock_come_in_the_order_sent(self, feed: MarketFeed, other: MarketFeed) -> None:
        """Ticks of two symbols and the clock between them, unchanged and in one order."""
        sent: list[Item] = [tick("EURUSD", 1), tick("NZDUSD", 1), clock(1000), tick("EURUSD", 2), clock(2000)]
        for item in sent:
            await _send(feed, item)
        async with following(other, ["EURUSD", "NZDUSD"], since_ms=0) as stream:
            assert await take(stream, 5) == sent

    async def test_only_the_wanted_symbols_come(self, feed: MarketFeed, other: MarketFeed) -> None:
        """Other symbols' ticks are left out; the clock is everybody's."""
        for item in (tick("EURUSD", 1), tick("NZDUSD", 1), clock(1000)):
            await _send(feed, item)
        async with following(other, ["NZDUSD"], since_ms=0) as stream:
            assert await take(stream, 2) == [tick("NZDUSD", 1), clock(1000)]

    async def test_history_starts_at_a_market_time(self, feed: MarketFeed, other: MarketFeed) -> None:
        """Nothing older than asked for and nothing younger left out, then what comes live."""
        for second in range(1, 41):
            await feed.publish_tick(tick("EURUSD", second, ts_ms=second * 1000 - 500))
            await feed.publish_clock(clock(second * 1000))
        async with following(other, ["EURUSD"], since_ms=30_000) as stream:
            first = await take(stream, 1 + 2 * 10)
            await feed.publish_tick(tick("EURUSD", 41, ts_ms=40_500))
            live = await take(stream, 1)

        assert first[:3] == [clock(30_000), tick("EURUSD", 31, ts_ms=30_500), clock(31_000)]
        assert live == [tick("EURUSD", 41, ts_ms=40_500)]

    async def test_a_follower_of_now_sees_nothing_old(self, feed: MarketFeed, other: MarketFeed) -> None:
        """`since_ms` None starts with the first message sent after the first item was asked for."""
        await feed.publish_tick(tick("EURUSD", 1))
        async with following(other, ["EURUSD"], since_ms=0) as stream:
            await take(stream, 1)
        async with following(other, ["EURUSD"], since_ms=None) as stream:
            first = asyncio.ensure_future(take(stream, 1))

            async def heard() -> bool:
                await feed.publish_tick(tick("EURUSD", 2))
                return first.done()

            await eventually(heard)
            assert first.result() == [tick("EURUSD", 2)]

    async def test_a_lost_tick_shows_as_a_gap(self, feed: MarketFeed, other: MarketFeed) -> None:
        """What was never sent is seen by the sequence: the feed invents and hides nothing."""
        for seq in (1, 2, 5):
            await feed.publish_tick(tick("EURUSD", seq))
        async with following(other, ["EURUSD"], since_ms=0) as stream:
            found = await take(stream, 3)

        assert [item.seq for item in found if isinstance(item, Tick)] == [1, 2, 5]

    async def test_bars_come_back_in_order(self, feed: MarketFeed, other: MarketFeed, symbol: str) -> None:
        """The last ones up to the limit, oldest first, with the subject's last sequence."""
        assert await other.bars(symbol, 1000, limit=3) == ([], 0)
        last = 0
        for close_ms in range(1000, 6000, 1000):
            last = await feed.put_bar(bar(symbol, close_ms), after=last)
        await feed.put_bar(bar(symbol + "X", 9000), after=None)

        assert await other.bars(symbol, 1000, limit=3) == (
            [bar(symbol, ms) for ms in (3000, 4000, 5000)],
            last,
        )
        assert await other.bars(symbol, 2000, limit=3) == ([], 0)

    async def test_a_stale_writer_is_refused(self, feed: MarketFeed, other: MarketFeed, symbol: str) -> None:
        """Whoever does not know the last sequence writes nothing; who reads it again may go on."""
        first = await feed.put_bar(bar(symbol, 1000), after=0)
        await other.put_bar(bar(symbol, 2000), after=first)
        for after in (0, first):
            with pytest.raises(StaleWriter):
                await feed.put_bar(bar(symbol, 3000), after=after)

        found, last = await feed.bars(symbol, 1000, limit=9)
        assert [item.close_ms for item in found] == [1000, 2000]
        assert await feed.put_bar(bar(symbol, 3000), after=last) > last

    async def test_old_bars_make_room(self, feed: MarketFeed, symbol: str) -> None:
        """A subject keeps its last bars and no more."""
        last = 0
        for close_ms in range(BARS_KEPT + 10):
            last = await feed.put_bar(bar(symbol, close_ms), after=last)

        found, _ = await feed.bars(symbol, 1000, limit=2 * BARS_KEPT)
        assert [item.close_ms for item in found] == list(range(10, BARS_KEPT + 10))

    async def test_nothing_is_buffered_while_the_server_is_away(
        self, feed: MarketFeed, other: MarketFeed, market: Market
    ) -> None:
        """Publishing raises at once, and a follower goes on with what is sent after the return."""
        async with following(other, ["EURUSD"], since_ms=0) as stream:
            await feed.publish_tick(tick("EURUSD", 1))
            assert await take(stream, 1) == [tick("EURUSD", 1)]
            async with market.away():
                await eventually(lambda: refused(feed))
                with pytest.raises(BrokerUnavailable):
                    await feed.ping(timeout_s=0.2)
            await eventually(lambda: answers(feed))
            await eventually(lambda: answers(other))
            following_item = asyncio.ensure_future(take(stream, 1))

            async def heard() -> bool:
                await feed.publish_tick(tick("EURUSD", 3))
                return following_item.done()

            await eventually(heard, timeout_s=20)
            assert following_item.result() == [tick("EURUSD", 3)]


async def _send(feed: MarketFeed, item: Item) -> None:
    await (feed.publish_tick(item) if isinstance(item, Tick) else feed.publish_clock(item))


async def refused(feed: MarketFeed) -> bool:
    """Whether nothing can be published."""
    try:
        await feed.publish_tick(tick("NOBODY", 2))
    except BrokerUnavailable:
        return True
    return False


async def answers(feed: MarketFeed) -> bool:
    """Whether the server answers a ping."""
    try:
        await feed.ping(timeout_s=0.5)
    except BrokerUnavailable:
        return False
    return True
