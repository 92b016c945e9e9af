"""Who is subscribed: one `Book` per owned partition, folded from `user.subscriptions` and followed.

One reader follows all owned partitions; it starts anew when their set changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from random import Random
from typing import Final, NoReturn

from messaging.ports import EventBus, LogRecord, Tail
from messaging.topics import SUBSCRIPTIONS
from models.errors import MessagingError
from signals.projection import Book

_TURN_S: Final = 0.2
"""How long the reader may be deaf to a change of the owned partitions."""


class LiveBook:
    """A partition's subscriptions up to `position`; the last change was at `changed_ms`, broker time."""

    def __init__(self, position: int) -> None:
        self.book: Final = Book()
        self.position = position
        self.changed_ms = -1

    def apply(self, records: Iterable[LogRecord]) -> None:
        """Fold the next records."""
        for record in records:
            self.book.apply(record.key, record.value, record.offset)
            self.position, self.changed_ms = record.offset + 1, record.timestamp_ms


class Books:
    """The books of the owned partitions. `follow` is one task; owners open and close from theirs."""

    def __init__(self, bus: EventBus, *, rng: Random, retry_s: float) -> None:
        self._bus = bus
        self._rng = rng
        self._retry_s = retry_s
        self._live: dict[int, LiveBook] = {}
        self._changed = asyncio.Event()

    async def open(self, partition: int) -> LiveBook:
        """The partition's subscriptions as of now, kept up to date until closed."""
        first, end = await self._bus.bounds(SUBSCRIPTIONS.name, partition)
        live = await self._folded(partition, first, end)
        self._live[partition] = live
        self._changed.set()
        return live

    def close(self, partition: int, live: LiveBook) -> None:
        """Follow it no longer."""
        if self._live.get(partition) is live:
            del self._live[partition]
            self._changed.set()

    async def before(self, partition: int, stop: int) -> Book:
        """The subscriptions as of an earlier offset, as far as compaction has left them."""
        first, _ = await self._bus.bounds(SUBSCRIPTIONS.name, partition)
        return (await self._folded(partition, first, stop)).book

    async def at(self, partition: int, timestamp_ms: int) -> Book:
        """The subscriptions as of a broker time."""
        stop = await self._bus.offset_at(SUBSCRIPTIONS.name, partition, timestamp_ms)
        return await self.before(partition, stop)

    async def follow(self) -> NoReturn:
        """Keep the open books up to date, through every outage of the broker."""
        while True:
            await self._changed.wait()
            try:
                await self._follow()
            except MessagingError:
                await asyncio.sleep(self._retry_s * (0.5 + self._rng.random()))

    async def _follow(self) -> None:
        """Follow the partitions that are open now, until others are."""
        self._changed.clear()
        if not self._live:
            return
        try:
            tail = await self._bus.tail(
                SUBSCRIPTIONS.name, {p: live.position for p, live in self._live.items()}
            )
            try:
                while not self._changed.is_set():
                    await self._take(tail)
            finally:
                await tail.close()
        except MessagingError:
            self._changed.set()
            raise

    async def _take(self, tail: Tail) -> None:
        for record in await tail.batch(max_wait_s=_TURN_S):
            live = self._live.get(record.partition)
            if live and record.offset >= live.position:
                live.apply((record,))

    async def _folded(self, partition: int, first: int, stop: int) -> LiveBook:
        live = LiveBook(first)
        if first < stop:
            async for records in self._bus.read(SUBSCRIPTIONS.name, partition, first, stop):
                live.apply(records)
        live.position = max(stop, first)
        return live
