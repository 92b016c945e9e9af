"""How many calls a replica runs at once, and how many may wait for that."""

from __future__ import annotations

import asyncio

from models.errors import ReplicaBusy


class Slots:
    """A bounded queue, first come first served, in front of a bounded number of slots.

    Belongs to one event loop. Whoever took a slot frees it exactly once, when the work has really ended.
    """

    def __init__(self, *, slots: int, max_queue: int) -> None:
        self._free = asyncio.Semaphore(slots)
        self._slots = slots
        self._max_queue = max_queue
        self._taken = 0
        self._waiting = 0

    @property
    def slots(self) -> int:
        return self._slots

    @property
    def queued(self) -> int:
        return self._waiting

    @property
    def in_service(self) -> int:
        return self._taken

    async def take(self) -> None:
        """Wait for a free slot and take it. Raises ReplicaBusy at once if the queue is full."""
        if self._free.locked() and self._waiting >= self._max_queue:
            raise ReplicaBusy(f"{self._taken} calls run and {self._waiting} wait; the queue holds no more")
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        self._taken += 1

    def free(self) -> None:
        self._taken -= 1
        self._free.release()
