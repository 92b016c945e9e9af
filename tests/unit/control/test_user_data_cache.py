"""How the cache of user data asks: once for many, and never in vain."""

from __future__ import annotations

import asyncio

import pytest

from deployments.control.user_data.cache import STALE_S, Question, UserDataCache, UserDataPage
from models.errors import DatabaseAway, StoreUnavailable
from models.metrics import MemoryMeter
from models.user_event import DataType, UserEvent
from storage.memory import MemoryFastStore
from storage.ports import Key
from storage.postgres.user_data import Cursor, Window

MINE = Question("acme", "u1", DataType.TRADES, Window())
NOTHING = UserDataPage(events=())


class Reads:
    """A database that is slow until it is told."""

    def __init__(self) -> None:
        self.count = 0
        self.free = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> UserDataPage:
        self.count += 1
        await self.free.wait()
        if self.error:
            raise self.error
        return NOTHING


class AwayStore(MemoryFastStore):
    """A store that refuses everything at once."""

    async def get(self, key: Key) -> bytes | None:
        raise StoreUnavailable("away")

    async def put(self, key: Key, value: bytes, *, ttl_s: float) -> None:
        raise StoreUnavailable("away")


async def test_many_who_ask_the_same_cost_one_read() -> None:
    """And one of them who leaves takes nothing from the others."""
    cache, reads = UserDataCache(MemoryFastStore(lambda: 0), MemoryMeter()), Reads()
    waiting = [asyncio.create_task(cache.get(MINE, reads)) for _ in range(50)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    reads.free.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)

    assert reads.count == 1
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == [NOTHING] * 49


async def test_a_failed_read_fails_those_who_waited_and_nobody_later() -> None:
    """An error is not kept, also if all who waited have left."""
    cache, reads = UserDataCache(MemoryFastStore(lambda: 0), MemoryMeter()), Reads()
    reads.error = DatabaseAway("away")
    reads.free.set()
    with pytest.raises(DatabaseAway):
        await cache.get(MINE, reads)
    reads.error = None
    assert await cache.get(MINE, reads) == NOTHING


async def test_a_page_is_kept_for_the_stated_time_and_no_longer() -> None:
    """Five seconds of the store's clock."""
    now = [0]
    cache, reads = UserDataCache(MemoryFastStore(lambda: now[0]), MemoryMeter()), Reads()
    reads.free.set()
    for at_s, expected in ((0, 1), (STALE_S - 0.01, 1), (STALE_S, 2)):
        now[0] = int(at_s * 1e9)
        await cache.get(MINE, reads)
        assert reads.count == expected
    assert STALE_S == 5.0


async def test_a_store_that_is_away_costs_only_the_read() -> None:
    """Every question is answered."""
    meter, reads = MemoryMeter(), Reads()
    cache = UserDataCache(AwayStore(lambda: 0), meter)
    reads.free.set()
    for _ in range(3):
        assert await cache.get(MINE, reads) == NOTHING
    assert reads.count == 3
    assert meter.values["hub_user_data_cache_total", (("outcome", "away"),)] == 3


async def test_a_large_page_is_not_kept() -> None:
    """The store holds small values."""
    store = MemoryFastStore(lambda: 0)
    event = UserEvent(
        event_id="event-01",
        tenant_id="acme",
        user_id="u1",
        type="opened",
        occurred_ns=1,
        at_ns=1,
        body={"text": "x" * 300_000},
    )

    async def read() -> UserDataPage:
        return UserDataPage(events=(event,))

    await UserDataCache(store, MemoryMeter()).get(MINE, read)
    assert await store.get(MINE.key) is None


def test_no_two_questions_share_a_key() -> None:
    """Whatever ids hold: a separator in one cannot make it another."""
    questions = {
        MINE,
        MINE._replace(tenant_id="acme/user-data/u1"),
        MINE._replace(tenant_id="bolt"),
        MINE._replace(user_id="u1:trades"),
        MINE._replace(user_id="u2"),
        MINE._replace(data_type=DataType.AUTH),
        MINE._replace(window=Window(1)),
        MINE._replace(window=Window(0, 1)),
        MINE._replace(window=Window(limit=1)),
        MINE._replace(window=Window(cursor=Cursor(1, "event-01"))),
        MINE._replace(window=Window(cursor=Cursor(1, "event-02"))),
    }
    assert len({str(question.key) for question in questions}) == len(questions)
