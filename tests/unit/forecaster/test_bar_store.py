"""Bars into the feed: in order, each once, and nothing read while some are still on their way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest

from deployments.forecaster.bar_store import BarStore
from messaging.memory import MemoryFeed, MemoryMarket, Process
from tests.unit.forecaster.scene import BAR_MS, START_MS, bar


@pytest.fixture
def market() -> MemoryMarket:
    """A feed server."""
    return MemoryMarket(Random(1))


@pytest.fixture
async def store(market: MemoryMarket) -> AsyncIterator[BarStore]:
    """A running store that has read the subject."""
    feed = MemoryFeed(market, Process("w"))
    store = BarStore(feed, on_stale=lambda _: None, rng=Random(1), retry_s=0.001)
    running = asyncio.create_task(store.run())
    await store.load("EURUSD", BAR_MS)
    yield store
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_reading_waits_for_what_was_put(store: BarStore) -> None:
    """A window read back without the newest bars would have a hole."""
    for number in range(3):
        store.put(bar("EURUSD", START_MS + number * BAR_MS, 1.1))

    bars = await store.load("EURUSD", BAR_MS)
    assert [one.close_ms for one in bars] == [START_MS + number * BAR_MS for number in range(3)]


async def test_a_feed_that_is_away_gets_the_bars_later_in_order(
    store: BarStore, market: MemoryMarket
) -> None:
    """Nothing is skipped while the feed does not answer."""
    market.stop()
    for number in range(2):
        store.put(bar("EURUSD", START_MS + number * BAR_MS, 1.1))
    await asyncio.sleep(0.01)
    market.start()

    assert len(await store.load("EURUSD", BAR_MS)) == 2


async def test_what_another_has_passed_is_not_stored_behind_it(store: BarStore, market: MemoryMarket) -> None:
    """A thawed owner drops all bars that the new owner has stored meanwhile, not only the first."""
    other = MemoryFeed(market, Process("other"))
    for number in range(3):
        await other.put_bar(bar("EURUSD", START_MS + number * BAR_MS, 1.1), after=None)
    for number in range(4):
        store.put(bar("EURUSD", START_MS + number * BAR_MS, 1.2))

    bars = await store.load("EURUSD", BAR_MS)
    assert [one.close_ms for one in bars] == [START_MS + number * BAR_MS for number in range(4)]
