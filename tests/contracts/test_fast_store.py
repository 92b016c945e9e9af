"""`FastStore` on the memory double and on Valkey, and what only the wire can get wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest

from models.errors import StoreUnavailable
from serve_app.servers.bundled import valkey
from storage.memory import MemoryFastStore
from storage.ports import FastStore, Key
from storage.redis_store import RedisConfig, RedisFastStore
from tests.contracts.fast_store import FastStoreContract, bucket
from tests.support.eventually import eventually


class TestMemoryFastStore(FastStoreContract):
    """The double that is shipped."""

    @pytest.fixture
    async def store(self) -> FastStore:
        return MemoryFastStore(time.time_ns)


@pytest.mark.valkey
class TestRedisFastStore(FastStoreContract):
    """The real server."""

    @pytest.fixture
    async def store(self, redis_url: str) -> AsyncIterator[FastStore]:
        async with RedisFastStore(RedisConfig(url=redis_url, timeout_ms=1000)) as store:
            yield store

    async def test_a_cancelled_call_never_leaves_its_answer_to_another(
        self, redis_url: str, unique: Callable[[str], str]
    ) -> None:
        """1,000 reads on two connections, half of them cancelled midway: each reader sees its own canary.

        Few at a time, so that a call is cancelled while it waits for its answer and not for a connection.
        """
        tenant = unique("t")
        results: list[bool | BaseException] = []
        cancelled: list[asyncio.Task[bool]] = []
        async with RedisFastStore(RedisConfig(url=redis_url, timeout_ms=1000, connections=2)) as store:
            for number in range(50):
                await store.put(Key(tenant, "canary", str(number)), f'"{number}"'.encode(), ttl_s=60)

            async def read(number: int) -> bool:
                return await store.get(Key(tenant, "canary", str(number))) == f'"{number}"'.encode()

            for first in range(0, 1000, 4):
                tasks = [asyncio.create_task(read(number % 50)) for number in range(first, first + 4)]
                for _ in range(1 + first // 4 % 3):
                    await asyncio.sleep(0)
                cancelled += [task for task in tasks[:2] if task.cancel()]
                results += await asyncio.gather(*tasks, return_exceptions=True)

        answered = [result for result in results if isinstance(result, bool)]
        assert all(answered)
        assert len(answered) >= 500
        assert len(cancelled) >= 100
        assert all(task.cancelled() for task in cancelled)


@pytest.mark.valkey
class TestRedisAway:
    """R13: a hung and a killed server, on a server of this test's own."""

    async def test_nobody_waits_and_no_counter_counts_twice(self, tmp_path: Path) -> None:
        """Frozen: each call is refused within 100 ms. Thawed: the store is back and counted each once."""
        server = valkey(tmp_path)
        server.start()
        try:
            server.wait_ready()
            config = RedisConfig(url=f"redis://{server.address}/0", timeout_ms=80, rest_ms=200)
            async with RedisFastStore(config) as store:
                one = bucket("tenant", 100)
                await store.take([one])
                server.freeze()
                waits = [await _refused_after_s(store) for _ in range(20)]
                server.thaw()
                await eventually(partial(_answers, store))
                left = (await store.take([one])).tightest.remaining
        finally:
            server.stop()

        assert max(waits) < 0.1 + 0.05  # the machine's own hiccups
        assert sorted(waits)[len(waits) // 2] < 0.01  # a resting store refuses at once
        assert left >= 100 - 3  # two that were answered, and one whose command was on its way

    async def test_a_killed_server_is_away_at_once_and_found_again(self, tmp_path: Path) -> None:
        """Connection refused is no different from a hang, only faster."""
        server = valkey(tmp_path)
        server.start()
        server.wait_ready()
        async with RedisFastStore(RedisConfig(url=f"redis://{server.address}/0", rest_ms=50)) as store:
            await store.ping()
            server.kill()
            assert await _refused_after_s(store) < 0.15
            server.start()
            try:
                server.wait_ready()
                await eventually(partial(_answers, store))
            finally:
                server.stop()


async def _refused_after_s(store: FastStore) -> float:
    start = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await store.take([bucket("tenant", 100)])
    return time.monotonic() - start


async def _answers(store: FastStore) -> bool:
    try:
        await store.ping()
    except StoreUnavailable:
        return False
    return True
