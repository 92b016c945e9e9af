"""What one socket is owed: first out of the log, then as it comes, without a gap or a repeat between the two.

While history is read, live records wait in `_ahead`. The read ends once it has passed the offset from which
on live records came; of those that wait, the ones beyond the read follow. A gap between two live sequences
sends it back to the log.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final, NoReturn, Protocol

from deployments.front.user_signals import Found, Place, Stretch, UserSignals
from deployments.stream.frames import Frame, gap
from deployments.stream.outbox import Item, Outbox
from messaging.ports import LogRecord
from messaging.topics import SIGNALS, partition_of
from models.errors import MessagingError
from models.principal import Principal
from signals.reader import SignalHead

_RETRY_S: Final = 1.0
_NOT_YET_S: Final = 0.05
"""Before the log is asked again that does not reach as far as what came live."""


class Live(Protocol):
    """What is asked of the follower."""

    def position(self, partition: int) -> int: ...

    def alive(self, partition: int) -> bool: ...

    def recent(self, principal: Principal) -> list[Found]: ...


@dataclass(frozen=True, slots=True)
class Wish:
    """Whose signals, after which sequence and of which account; None: what comes from now on, and all."""

    principal: Principal
    since_seq: int | None
    account: str | None


@dataclass(frozen=True, slots=True)
class Sources:
    """Where signals come from, and how many one read of the log brings."""

    live: Live
    signals: UserSignals
    rng: Random
    page: int


class Owed:
    """Fills an outbox. `follow` is its task; `take` is called by the switchboard on the same loop.

    `last` is the sequence of the newest signal in the outbox or before it.
    """

    def __init__(self, wish: Wish, sources: Sources, outbox: Outbox, *, too_slow: Callable[[], None]) -> None:
        self._wish = wish
        self._sources = sources
        self._outbox = outbox
        self._too_slow = too_slow
        self._next = 0
        self._ahead: deque[Found] | None = deque()
        self._behind = asyncio.Event()
        self.partition: Final = partition_of(wish.principal.user_id.encode(), SIGNALS.partitions)
        self._joined = sources.live.position(self.partition)
        self.last = wish.since_seq or 0

    @property
    def current(self) -> bool:
        """Whether the outbox has all that there is, as far as the log is known to be alive."""
        return self._ahead is None and self._sources.live.alive(self.partition)

    def take(self, record: LogRecord, head: SignalHead) -> None:
        """The user's next valid signal, as it comes."""
        found = Found(record, head)
        if self._ahead is None:
            self._go_on(found)
        elif len(self._ahead) < self._sources.page:
            self._ahead.append(found)
        else:  # too many to keep: the log has them
            self._ahead.clear()
            self._joined = record.offset + 1

    async def follow(self) -> NoReturn:
        """Bring what the log has, and again whenever what came live did not join on."""
        since = self._wish.since_seq
        while True:
            self._behind.clear()
            await self._through_outages(since)
            await self._behind.wait()
            since = self.last

    async def _through_outages(self, since: int | None) -> None:
        while True:
            try:
                return await self._catch_up(since)
            except MessagingError:
                since = self.last or since
                await asyncio.sleep(_RETRY_S * (0.5 + self._sources.rng.random()))

    async def _catch_up(self, since: int | None) -> None:
        joined = self._joined
        if await self._remembered(since):
            if self._joined == joined:
                self._join(joined)
                return
            since = self.last  # more came meanwhile than was kept
        stretch = await self._begin(since)
        while True:
            for found in stretch.found:
                await self._bring(found)
            if stretch.next.offset >= self._joined:
                break
            if stretch.reached_end:
                await asyncio.sleep(_NOT_YET_S)
            stretch = await self._read(self.last, at=stretch.next)
        self._join(stretch.next.offset)

    async def _remembered(self, since: int | None) -> bool:
        """Bring what the follower still has in memory; False if that does not reach back far enough."""
        recent = [
            one for one in self._sources.live.recent(self._wish.principal) if one.record.offset < self._joined
        ]
        if not recent or (since is not None and recent[0].head.sequence > since + 1):
            return False
        if since is None:
            self.last = recent[-1].head.sequence
        for found in recent:
            if found.head.sequence > self.last:
                await self._bring(found)
        return True

    async def _begin(self, since: int | None) -> Stretch:
        """The first read: from a sequence on, or only to learn the last one."""
        if since is None:
            stretch = await self._sources.signals.latest(self._wish.principal)
            self.last = stretch.found[-1].head.sequence if stretch.found else 0
            stretch.found.clear()
            return stretch
        stretch = await self._read(since)
        if stretch.found and not stretch.complete and stretch.found[0].head.sequence > since + 1:
            await self._put(gap(since, stretch.found[0].head.sequence))
        return stretch

    async def _read(self, since: int, *, at: Place | None = None) -> Stretch:
        return await self._sources.signals.read(self._wish.principal, since, limit=self._sources.page, at=at)

    async def _bring(self, found: Found) -> None:
        """History waits for a slow client."""
        await self._put(self._frame(found, live=False))
        self.last = found.head.sequence

    async def _put(self, item: Item) -> None:
        while not self._outbox.offer(item):
            await self._outbox.empty()

    def _join(self, offset: int) -> None:
        """Go over to what comes live; nothing else runs in between."""
        ahead, self._ahead, self._next = self._ahead or (), None, offset
        for found in ahead:
            self.take(found.record, found.head)

    def _go_on(self, found: Found) -> None:
        if found.record.offset < self._next:
            return
        if found.head.sequence > self.last + 1 and self.last:
            self._fall_back(found)
        elif self._outbox.offer(self._frame(found, live=True)):
            self.last, self._next = found.head.sequence, found.record.offset + 1
        else:
            self._too_slow()

    def _fall_back(self, found: Found) -> None:
        """Something is missing before it: read the log again, up to and with it."""
        self._ahead, self._joined = deque(), found.record.offset + 1
        self._behind.set()

    def _frame(self, found: Found, *, live: bool) -> Frame:
        return Frame.of(found.record, found.head, account=self._wish.account, live=live)
