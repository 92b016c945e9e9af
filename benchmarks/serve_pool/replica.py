"""A replica that works by sleeping: two calls at once, the others wait; slower or failing if told so."""

from __future__ import annotations

import asyncio
import os
from typing import Final

from ray import serve

SLOTS: Final = 2
CAPACITY: Final = 32
FAILING: Final = 0.0


class ToldToFailError(Exception):
    """The failure that a scenario asks for."""


class SleepingReplica:
    """Service times are the caller's, so that every pool has to do the same work."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(SLOTS)
        self._slower = 1.0

    async def work(self, seconds: float) -> None:
        """Sleep so long in one of the slots, as many times longer as was told; or fail at once."""
        if self._slower == FAILING:
            raise ToldToFailError
        async with self._slots:
            await asyncio.sleep(seconds * self._slower)

    async def behave(self, slower: dict[str, float]) -> tuple[str, int]:
        """Be as much slower as is said for this replica, or as fast as ever; tells its name and process."""
        name = serve.get_replica_context().replica_id.unique_id
        self._slower = slower.get(name, 1.0)
        return name, os.getpid()
