"""How often one address may try a password at all, whosever: looking at one costs a processor for a while."""

from __future__ import annotations

from typing import Final

from models.errors import RateLimited, StoreUnavailable
from storage.ports import Bucket, FastStore, Key, Rate

ATTEMPTS: Final = Rate(120, 60)
_TENANT: Final = "~"
"""No tenant's name: the address has not said yet whose it is, or not truly."""


class SourceRate:
    """Counts in `shared`, and in `local`, a store of this process alone, while that is away."""

    def __init__(self, shared: FastStore, local: FastStore) -> None:
        self._shared = shared
        self._local = local

    async def admit(self, source: str) -> None:
        """Count an attempt; RateLimited beyond the rate."""
        buckets = [Bucket(Key(_TENANT, "login", source), ATTEMPTS)]
        try:
            grant = await self._shared.take(buckets)
        except StoreUnavailable:
            grant = await self._local.take(buckets)
        if not grant.allowed:
            raise RateLimited(
                f"more than {ATTEMPTS.amount} attempts in {ATTEMPTS.period_s} s from your address; wait",
                retry_after_s=grant.tightest.retry_after_s,
            )
