"""What every `FastStore` must do; run on the memory double and on a real server by `test_fast_store.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from storage.ports import Bucket, FastStore, Grant, Key, Rate
from tests.support.eventually import eventually

Unique = Callable[[str], str]


def bucket(tenant: str, amount: int, period_s: int = 3600) -> Bucket:
    """A counter of a tenant that refills too slowly to matter within a test."""
    return Bucket(Key(tenant, "rate", f"{amount}/{period_s}"), Rate(amount, period_s))


class FastStoreContract:
    """Subclasses give the store as the fixture `store`."""

    async def test_keeps_a_value_under_its_whole_key(self, store: FastStore, unique: Unique) -> None:
        """Tenant, kind and id together name a value; a separator inside a part cannot reach another one."""
        tenant = unique("t")
        await store.put(Key(tenant, "a", "b/c"), b'"one"', ttl_s=60)

        assert await store.get(Key(tenant, "a", "b/c")) == b'"one"'
        assert await store.get(Key(f"{tenant}/a", "b", "c")) is None
        assert await store.get(Key(tenant, "a/b", "c")) is None
        assert await store.get(Key(unique("t"), "a", "b/c")) is None

    async def test_the_last_value_wins(self, store: FastStore, unique: Unique) -> None:
        """A second put replaces the first."""
        key = Key(unique("t"), "kind", "id")
        await store.put(key, b"1", ttl_s=60)
        await store.put(key, b"2", ttl_s=60)

        assert await store.get(key) == b"2"

    async def test_keeps_many_at_once(self, store: FastStore, unique: Unique) -> None:
        """Each under its own key, for the same time; none at all is nothing to do."""
        keys = [Key(unique("t"), "kind", str(number)) for number in range(300)]
        await store.put_many([(key, f'"{key.id}"'.encode()) for key in keys], ttl_s=60)
        await store.put_many([], ttl_s=60)

        assert [await store.get(key) for key in keys] == [f'"{key.id}"'.encode() for key in keys]

    async def test_a_value_expires(self, store: FastStore, unique: Unique) -> None:
        """After its time to live a value is gone."""
        key = Key(unique("t"), "kind", "id")
        await store.put(key, b"1", ttl_s=0.05)

        async def gone() -> bool:
            return await store.get(key) is None

        await eventually(gone, timeout_s=5)

    async def test_admits_exactly_the_amount_of_concurrent_calls(
        self, store: FastStore, unique: Unique
    ) -> None:
        """64 calls at once on one counter of 20: 20 pass, with no two told the same number left."""
        one = bucket(unique("t"), 20)
        grants = await asyncio.gather(*(store.take([one]) for _ in range(64)))

        passed = [grant for grant in grants if grant.allowed]
        assert len(passed) == 20
        assert sorted(grant.tightest.remaining for grant in passed) == list(range(20))

    async def test_counts_in_all_buckets_or_in_none(self, store: FastStore, unique: Unique) -> None:
        """A call that one bucket refuses costs nothing in the others."""
        tenant = unique("t")
        wide, narrow = bucket(tenant, 10), bucket(tenant, 2)
        for _ in range(5):
            await store.take([wide, narrow])

        grant = await store.take([wide])
        assert grant.standings[0].remaining == 10 - 2 - 1

    async def test_a_refusal_says_when_to_come_back(self, store: FastStore, unique: Unique) -> None:
        """Full: nothing is left, the wait is at most one interval, the reset at most the period."""
        one = bucket(unique("t"), 4, period_s=40)
        grants: list[Grant] = [await store.take([one]) for _ in range(5)]

        assert [grant.allowed for grant in grants] == [True] * 4 + [False]
        refused = grants[-1].tightest
        assert refused.remaining == 0
        assert 9 < refused.retry_after_s <= 10
        assert 39 < refused.reset_s <= 40

    async def test_a_call_comes_back_after_its_interval(self, store: FastStore, unique: Unique) -> None:
        """20 a second: after the burst the next passes within moments, without waiting for a window."""
        one = bucket(unique("t"), 20, period_s=1)
        while (await store.take([one])).allowed:
            pass

        async def admitted() -> bool:
            return (await store.take([one])).allowed

        await eventually(admitted, timeout_s=5)

    async def test_answers_a_ping(self, store: FastStore) -> None:
        """A store that is there says so."""
        await store.ping()
