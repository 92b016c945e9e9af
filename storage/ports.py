"""What the hub asks of a fast store: recent decisions, last good answers and the counters of rate limits.

Only what may be lost lives here; the record is Kafka. Implementations: `storage/redis_store.py` and
`storage/memory.py`. One contract suite in `tests/contracts` runs on both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Key:
    """Where a value is. The tenant comes first, so that no id can reach into another tenant."""

    tenant: str
    kind: str
    id: str

    def __str__(self) -> str:
        """`tenant/kind/id`, each part escaped, so that no part can forge a separator."""
        return "/".join(quote(part, safe="") for part in (self.tenant, self.kind, self.id))


@dataclass(frozen=True, slots=True)
class Rate:
    """So many calls per period; up to `amount` of them at once."""

    amount: int
    period_s: int


@dataclass(frozen=True, slots=True)
class Bucket:
    """One counter and the rate it is held to."""

    key: Key
    rate: Rate


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a bucket stands after a call: calls left now, and seconds until all of them are back."""

    rate: Rate
    remaining: int
    reset_s: float
    retry_after_s: float


@dataclass(frozen=True, slots=True)
class Grant:
    """The verdict on one call over all its buckets."""

    allowed: bool
    standings: tuple[Standing, ...]

    @property
    def tightest(self) -> Standing:
        """The bucket that refuses longest, else the one with the smallest share left."""
        return max(self.standings, key=lambda item: (item.retry_after_s, -item.remaining / item.rate.amount))


class FastStore(Protocol):
    """Small JSON values with an expiry, and counters. Any of it may vanish at any time.

    No call waits longer than the store's own short bound: while the store is away every call raises
    StoreUnavailable at once, and the caller says what it does without it. Nothing is sent twice.
    """

    async def put(self, key: Key, value: bytes, *, ttl_s: float) -> None:
        """Keep JSON under the key for `ttl_s` seconds, in place of what was there."""
        ...

    async def put_many(self, entries: Sequence[tuple[Key, bytes]], *, ttl_s: float) -> None:
        """Keep several in one round trip; if that fails, some of them may be kept."""
        ...

    async def get(self, key: Key) -> bytes | None:
        """The value, or None if it expired, was lost or never was."""
        ...

    async def take(self, buckets: Sequence[Bucket]) -> Grant:
        """Count one call in all buckets, or in none if any of them is full; atomic among all callers."""
        ...

    async def ping(self) -> None:
        """Raise StoreUnavailable unless the store answers now."""
        ...

    async def close(self) -> None: ...
