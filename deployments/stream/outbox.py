"""What waits for one client, bounded in frames and in bytes."""

from __future__ import annotations

import asyncio
from collections import deque

from deployments.stream.frames import Frame

Item = Frame | bytes
"""A signal, or a note that is ready to be sent."""


class Outbox:
    """Between those who offer and one who pops, on one event loop. Never blocks who offers."""

    def __init__(self, *, frames: int, limit_bytes: int) -> None:
        self._frames = frames
        self._limit_bytes = limit_bytes
        self._waiting: deque[Item] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._waiting)

    def offer(self, item: Item) -> bool:
        """False if it does not fit. One item always fits an empty box."""
        size = _size(item)
        if self._waiting and (len(self._waiting) >= self._frames or self._bytes + size > self._limit_bytes):
            return False
        self._waiting.append(item)
        self._bytes += size
        self._filled.set()
        self._empty.clear()
        return True

    async def filled(self) -> None:
        """Wait until something waits."""
        await self._filled.wait()

    async def empty(self) -> None:
        """Wait until nothing waits: whoever brings much brings it in pieces."""
        await self._empty.wait()

    def peek(self) -> Item | None:
        """The oldest item, which stays."""
        return self._waiting[0] if self._waiting else None

    def pop(self) -> Item:
        """The oldest item, which leaves; there must be one."""
        item = self._waiting.popleft()
        self._bytes -= _size(item)
        if not self._waiting:
            self._filled.clear()
            self._empty.set()
        return item


def _size(item: Item) -> int:
    return len(item) if isinstance(item, bytes) else len(item.payload)
