"""User events: saved through the publisher, read back from Kafka where marks say that a user's events lie.

A log has no index. So a save is done when the event is in its topic and a mark of the block it landed in is
in `user.event_marks`, once per user, topic and block; a read looks at marked blocks alone, and at a
bounded number of records a page. A mark is written after its event, so a reader that has come to the end is
sent back by the few seconds in which a mark may still be missing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import aclosing
from functools import lru_cache
from random import Random
from typing import Final

from deployments.gateway.event_intake import NewEvent, checked_event, encoded
from deployments.gateway.event_pages import EventPage, Page, marked_ranges
from messaging.event_marks import EventMarks
from messaging.ports import EventBus, Record
from messaging.publisher import Place, Publisher
from messaging.topics import EVENT_MARKS, partition_of
from models.base import Frozen
from models.errors import AppendUnknown, MessagingError
from models.metrics import Meter
from models.principal import Principal
from models.user_event import EVENT_BLOCK, EVENT_KINDS, DataType, EventMark, UserEvent, event_mark_key

SAVE_S: Final = 5.0
MAX_READ: Final = 8_192
"""Records a page looks at, at most: about 130 ms of this process on a busy core."""
SETTLE_MS: Final = 15_000
"""After so long a save has its mark, or has failed."""
_MOST_KNOWN: Final = 200_000
"""Pairs of a user and a topic that a gateway remembers."""


class SavedEvent(Frozen):
    """Where an event was saved, and under which id."""

    event_id: str
    data_type: DataType
    at_ns: int
    offset: int


class UserEvents:
    """Saves and reads user events. `clock` is wall time in ns."""

    def __init__(
        self,
        bus: EventBus,
        publisher: Publisher,
        marks: EventMarks,
        *,
        clock: Callable[[], int],
        rng: Random,
        meter: Meter,
        max_read: int = MAX_READ,
    ) -> None:
        self._bus = bus
        self._publisher = publisher
        self._marks = marks
        self._clock = clock
        self._rng = rng
        self._meter = meter
        self._max_read = max_read
        self._marked: OrderedDict[tuple[str, str], int] = OrderedDict()

    async def save_user_event(self, principal: Principal, data_type: DataType, new: NewEvent) -> SavedEvent:
        """Write an event of the caller, or for a service of the user it names, and wait for the log.

        Raises InputError or Forbidden naming the field, AppendRefused if nothing was written, and
        AppendUnknown if that is not known: save again with the same `event_id`.
        """
        event = checked_event(principal, data_type, new, now_ns=self._clock(), rng=self._rng)
        kind = EVENT_KINDS[data_type]
        place = _home(kind.topic, event.user_id)
        record = Record(kind.key(event), encoded(event))
        offset = await self._publisher.publish(principal.tenant_id, place, record, timeout_s=SAVE_S)
        await self._mark(event, place, offset)
        self._count(data_type, "saved")
        return SavedEvent(event_id=event.event_id, data_type=data_type, at_ns=event.at_ns, offset=offset)

    async def get_user_data(
        self, principal: Principal, data_type: DataType, *, cursor: int, limit: int
    ) -> EventPage:
        """The caller's own events from offset `cursor` on, at most `limit` of them."""
        place = _home(EVENT_KINDS[data_type].topic, principal.user_id)
        first, end = await self._bus.bounds(*place)
        page = Page(principal, data_type, limit=limit, start=max(first, cursor))
        blocks = await self._blocks(principal.user_id, place)
        if await self._read_marked(page, place, blocks, end):
            page.came_to_end(blocks, settled=await self._settled(place), end=end)
        self._count(data_type, "dropped", page.dropped)
        return page.answer()

    async def _mark(self, event: UserEvent, place: Place, offset: int) -> None:
        """See that the block of the event is marked; known marks are not written again."""
        key, block = (event.user_id, place.topic), offset - offset % EVENT_BLOCK
        if self._marked.get(key) == block:
            return
        mark = EventMark(user_id=event.user_id, topic=place.topic, offset=block)
        record = Record(event_mark_key(*key, block), mark.model_dump_json(by_alias=True).encode())
        home = Place(EVENT_MARKS.name, place.partition)
        try:
            await self._publisher.publish(event.tenant_id, home, record, timeout_s=SAVE_S)
        except MessagingError as error:
            raise AppendUnknown(
                f"the event is saved, but may not be found again: {error.message}; save it again with"
                f" event_id {event.event_id}"
            ) from error
        self._marked[key] = block
        if len(self._marked) > _MOST_KNOWN:
            self._marked.popitem(last=False)

    async def _blocks(self, user_id: str, place: Place) -> set[int]:
        """Blocks with events of the user: those marked in the log, and the one marked here a moment ago."""
        blocks = await self._marks.blocks(user_id, *place)
        own = self._marked.get((user_id, place.topic))
        return blocks if own is None else blocks | {own}

    async def _read_marked(self, page: Page, place: Place, blocks: set[int], end: int) -> bool:
        """Read until the page is full or has looked at enough; True if all marked blocks were read."""
        left = self._max_read
        for start, stop in marked_ranges(blocks, page.start, end):
            await self._read(page, place, start, min(stop, start + left))
            left -= min(stop - start, left)
            if page.full or not left:
                return page.position >= end
        return True

    async def _read(self, page: Page, place: Place, start: int, stop: int) -> None:
        async with aclosing(self._bus.read(*place, start, stop)) as chunks:
            async for records in chunks:
                for record in records:
                    page.take(record)
                    if page.full:
                        return
        page.position = stop

    async def _settled(self, place: Place) -> int:
        """The offset below which every saved event has its mark."""
        return await self._bus.offset_at(*place, self._clock() // 1_000_000 - SETTLE_MS)

    def _count(self, data_type: DataType, outcome: str, by: int = 1) -> None:
        if by:
            labels = {"data_type": data_type.value, "outcome": outcome}
            self._meter.count("hub_user_events_total", labels, by)


@lru_cache(maxsize=_MOST_KNOWN)
def _home(topic: str, user_id: str) -> Place:
    """A user has one partition, the same in every topic of users."""
    return Place(topic, partition_of(user_id.encode(), EVENT_MARKS.partitions))
