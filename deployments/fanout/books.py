"""Who is subscribed: one `Book` per owned partition, folded from `user.subscriptions` and followed.

One reader follows all owned partitions; it starts anew when their set changes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from random import Random
from typing import Final, NoReturn

from messaging.ports import EventBus, LogRecord, Tail
from messaging.topics import SUBSCRIPTIONS
from models.errors import MessagingError
from signals.book import Book

GRACE_MS: Final = 1000
"""A change this close to a prediction may count or not: both are right."""
_TURN_S: Final = 0.2
"""How long the reader may be deaf to a change of the owned partitions."""
_LATE_MS: Final = 100


class LiveBook:
    """A partition's subscriptions up to `position`; the last change was at `changed_ms`, broker time.

    What was written before `known_s`, on the loop's clock, is in.
    """

    def __init__(self, position: int) -> None:
        self.book: Final = Book()
        self.position = position
        self.known_s = 0.0
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
        self._polled = asyncio.Event()

    async def open(self, partition: int) -> LiveBook:
        """The partition's subscriptions as of now, kept up to date until closed."""
        asked_s = asyncio.get_running_loop().time()
        first, end = await self._bus.bounds(SUBSCRIPTIONS.name, partition)
        live = await self._folded(partition, first, end)
        live.known_s = asked_s
        self._live[partition] = live
        self._changed.set()
        return live

    def close(self, partition: int, live: LiveBook) -> None:
        """Follow it no longer."""
        if self._live.get(partition) is live:
            del self._live[partition]
            self._changed.set()

    async def catch_up(self, live: LiveBook) -> None:
        """Wait until everything older than the grace time is in; not longer than that again, so that a book
        which cannot be followed delays a signal and does not stop it.
        """
        loop, grace_s = asyncio.get_running_loop(), GRACE_MS / 1000
        give_up_s = loop.time() + grace_s
        while live.known_s < (now_s := loop.time()) - grace_s and now_s < give_up_s:
            self._polled.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(give_up_s):
                    await self._polled.wait()

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
        followed = dict(self._live)
        try:
            starts = {p: live.position for p, live in followed.items()}
            tail = await self._bus.tail(SUBSCRIPTIONS.name, starts, late_ms=_LATE_MS)
            try:
                while not self._changed.is_set():
                    await self._take(tail, followed)
            finally:
                await tail.close()
        except MessagingError:
            self._changed.set()
            raise

    async def _take(self, tail: Tail, followed: Mapping[int, LiveBook]) -> None:
        asked_s = asyncio.get_running_loop().time()
        for record in await tail.batch(max_wait_s=_TURN_S):
            followed[record.partition].apply((record,))
        for live in followed.values():
            live.known_s = asked_s
        self._polled.set()

    async def _folded(self, partition: int, first: int, stop: int) -> LiveBook:
        live = LiveBook(first)
        if first < stop:
            async for records in self._bus.read(SUBSCRIPTIONS.name, partition, first, stop):
                live.apply(records)
        live.position = max(stop, first)
        return live
