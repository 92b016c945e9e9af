"""`FastStore` in this process: the double for tests, and the local bound while Redis is away."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from storage import gcra
from storage.ports import Bucket, Grant, Key


class MemoryFastStore:
    """Keeps the `capacity` values and counters that were written last; `clock` is wall time in nanoseconds.

    No method awaits between reading and writing, so calls of one event loop cannot interleave.
    """

    def __init__(self, clock: Callable[[], int], *, capacity: int = 100_000) -> None:
        self._clock = clock
        self._capacity = capacity
        self._values: OrderedDict[Key, tuple[int, bytes]] = OrderedDict()
        self._paid_at: OrderedDict[Key, int] = OrderedDict()

    async def put(self, key: Key, value: bytes, *, ttl_s: float) -> None:
        self._values[key] = (self._clock() + int(ttl_s * 1e9), value)
        self._bound(self._values, key)

    async def put_many(self, entries: Sequence[tuple[Key, bytes]], *, ttl_s: float) -> None:
        for key, value in entries:
            await self.put(key, value, ttl_s=ttl_s)

    async def get(self, key: Key) -> bytes | None:
        expires_ns, value = self._values.get(key, (0, b""))
        return value if self._clock() < expires_ns else None

    async def take(self, buckets: Sequence[Bucket]) -> Grant:
        now_us = self._clock() // 1000
        debts = [
            gcra.debt_us(self._paid_at.get(bucket.key), bucket.rate, now_us=now_us) for bucket in buckets
        ]
        allowed = all(gcra.fits(debt, bucket.rate) for debt, bucket in zip(debts, buckets, strict=True))
        if allowed:
            debts = [debt + gcra.interval_us(b.rate) for b, debt in zip(buckets, debts, strict=True)]
        for bucket, debt in zip(buckets, debts, strict=True):
            self._paid_at[bucket.key] = now_us + debt
            self._bound(self._paid_at, bucket.key)
        standings = (gcra.standing(debt, bucket.rate) for debt, bucket in zip(debts, buckets, strict=True))
        return Grant(allowed=allowed, standings=tuple(standings))

    async def ping(self) -> None:
        return

    async def close(self) -> None:
        self._values.clear()
        self._paid_at.clear()

    def _bound(self, entries: OrderedDict[Key, Any], newest: Key) -> None:
        entries.move_to_end(newest)
        if len(entries) > self._capacity:
            entries.popitem(last=False)
