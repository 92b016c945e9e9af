"""The cache of user data on a real Valkey: no page crosses a tenant, and a store that is away costs time."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from functools import partial
from pathlib import Path

import orjson
import pytest

from deployments.control.user_data.cache import Question, UserDataCache, UserDataPage
from models.metrics import MemoryMeter
from models.user_event import DataType, UserEvent
from serve_app.servers.bundled import valkey
from serve_app.servers.process import ServerProcess
from storage.ports import Key
from storage.postgres.user_data import Window
from storage.redis_store import RedisConfig, RedisFastStore
from tests.support.eventually import eventually

pytestmark = pytest.mark.valkey
TENANTS = 1_000
CALLS = 12_000


def question(number: int) -> Question:
    """A tenant's question; all of them have a user of the same name."""
    return Question(f"tenant-{number:04}", "u1", DataType.TRADES, Window())


def page(number: int) -> UserDataPage:
    """The answer, with the tenant's canary in it."""
    given = {"type": "opened", "occurred_ns": 1, "at_ns": 1, "body": {"comment": f"canary-{number:04}"}}
    whose = {"event_id": "event-01", "tenant_id": f"tenant-{number:04}", "user_id": "u1"}
    return UserDataPage(events=(UserEvent(**given, **whose),))


def _at_least(seen: Counter[str], number: int) -> bool:
    return seen.total() >= number


async def chaos(server: ServerProcess, seen: Counter[str]) -> int:
    """Kill the store after every few hundred calls, and start it again; return how often."""
    killed = 0
    while (calls := seen.total()) < CALLS - 64:
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        await asyncio.to_thread(server.wait_ready)
        killed += 1
        await eventually(partial(_at_least, seen, min(calls + 1_000, CALLS - 64)), 60)
    return killed


async def test_no_page_crosses_a_tenant_while_calls_are_cancelled_and_the_store_dies(  # noqa: C901 - one scene
    tmp_path: Path,
) -> None:
    """1,000 tenants over eight connections, every third call cancelled at a random moment."""
    server, draw, meter = valkey(tmp_path), random.Random(7), MemoryMeter()
    server.start()
    server.wait_ready()
    store = RedisFastStore(RedisConfig(url=f"redis://{server.address}/0", rest_ms=5))
    cache, seen = UserDataCache(store, meter), Counter[str]()

    async def call() -> None:
        number = draw.randrange(TENANTS if draw.random() < 0.5 else 50)  # some are asked more often

        async def read() -> UserDataPage:
            await asyncio.sleep(draw.random() / 1_000)
            return page(number)

        task = asyncio.create_task(cache.get(question(number), read))
        if draw.random() < 0.33:
            await asyncio.sleep(draw.random() / 500)
            task.cancel()
        try:
            answer = await task
        except asyncio.CancelledError:
            seen["cancelled"] += 1
        else:
            seen["own" if answer == page(number) else "foreign"] += 1

    async def caller() -> None:
        for _ in range(CALLS // 64 + 1):
            await call()

    breaking = asyncio.create_task(chaos(server, seen))
    try:
        await asyncio.gather(*(caller() for _ in range(64)))
        killed = await breaking
        for number in range(0, TENANTS, 50):
            assert await cache.get(question(number), partial(_later, page(number))) == page(number)
    finally:
        await store.close()
        server.stop()

    outcomes = {dict(labels)["outcome"]: count for (_, labels), count in meter.values.items()}
    assert seen["foreign"] == 0
    assert outcomes.get("foreign", 0) == 0
    assert seen["own"] > CALLS / 3
    assert seen["cancelled"] > 100
    assert killed >= 3
    assert outcomes["hit"] > 100
    assert outcomes["away"] > 0


async def _later(value: UserDataPage) -> UserDataPage:
    return value


async def test_a_page_of_somebody_else_under_ones_own_key_is_not_believed(redis_url: str) -> None:
    """The planted fault: a store that answers with another tenant's, user's or window's page."""
    async with RedisFastStore(RedisConfig(url=redis_url)) as store:
        meter = MemoryMeter()
        cache, mine = UserDataCache(store, meter), question(1)
        for other in (question(2), mine._replace(user_id="u2"), mine._replace(window=Window(limit=7))):
            await cache.get(other, lambda: _later(page(2)))
            await _copy(store, other.key, mine.key)
            assert await cache.get(mine, lambda: _later(page(1))) == page(1)
        forged = orjson.dumps(
            {"tenant_id": mine.tenant_id, "words": mine.words, "page": page(2).model_dump(by_alias=True)}
        )
        await store.put(mine.key, forged, ttl_s=60)
        assert await cache.get(mine, lambda: _later(page(1))) == page(1)
        await store.put(mine.key, b"not even json", ttl_s=60)
        assert await cache.get(mine, lambda: _later(page(1))) == page(1)

    outcomes = {dict(labels)["outcome"]: count for (_, labels), count in meter.values.items()}
    assert outcomes["foreign"] == 4
    assert outcomes["unreadable"] == 1


async def _copy(store: RedisFastStore, here: Key, there: Key) -> None:
    value = await store.get(here)
    assert value is not None
    await store.put(there, value, ttl_s=60)
