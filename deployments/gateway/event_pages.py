"""One page of a user's events: which offsets to look at, and which records there are the caller's."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from pydantic import ValidationError

from messaging.ports import LogRecord
from models.base import Frozen
from models.principal import Principal
from models.user_event import BLOCKS_KEPT, EVENT_BLOCK, EVENT_KINDS, DataType, UserEvent


class EventPage(Frozen):
    """The caller's events, oldest first; ask again with `next_cursor` for those that follow. An event may
    come twice: drop a repeated `event_id`.

    `complete` says that the read came to the end of what is there now. If it is false, more may follow, even
    after an empty page: a page looks at a bounded number of records, most of them other users'.
    """

    events: tuple[UserEvent, ...]
    next_cursor: str
    complete: bool


class Page:
    """Takes records one by one: keeps what is the caller's, and counts what says so and is not."""

    def __init__(self, principal: Principal, data_type: DataType, *, limit: int, start: int) -> None:
        self.start = start
        self.position = start
        self.dropped = 0
        self._complete = False
        self._kind = EVENT_KINDS[data_type]
        self._principal = principal
        self._user = principal.user_id.encode()
        self._limit = limit
        self._events: dict[str, UserEvent] = {}

    @property
    def full(self) -> bool:
        return len(self._events) >= self._limit

    def take(self, record: LogRecord) -> None:
        """Pass over records of others; drop one whose key is the caller's and whose body is not."""
        self.position = record.offset + 1
        if self._user not in record.key or record.value is None:
            return
        event = _decoded(record.value)
        if event and self._is_own(event) and record.key == self._kind.key(event):
            self._events.setdefault(event.event_id, event)
        elif record.key == self._user or b'"%b"' % self._user in record.key:
            self.dropped += 1

    def came_to_end(self, blocks: Collection[int], *, settled: int, end: int) -> None:
        """All marked blocks were read. The next page begins where a mark may still have been missing."""
        tail = end - end % EVENT_BLOCK
        whole = settled >= tail and (tail in blocks or settled >= end)
        self.position = max(self.start, end if whole else min(settled, end))
        self._complete = True

    def answer(self) -> EventPage:
        return EventPage(
            events=tuple(self._events.values()), next_cursor=str(self.position), complete=self._complete
        )

    def _is_own(self, event: UserEvent) -> bool:
        me = self._principal
        return (event.user_id, event.tenant_id) == (me.user_id, me.tenant_id)


def marked_ranges(blocks: Collection[int], start: int, end: int) -> Iterator[tuple[int, int]]:
    """What to read of [start, end): the marked blocks in order, as far back as blocks can be marked."""
    oldest = max(start, end - end % EVENT_BLOCK - (BLOCKS_KEPT - 1) * EVENT_BLOCK)
    for block in sorted(blocks):
        first, stop = max(block, oldest), min(block + EVENT_BLOCK, end)
        if first < stop:
            yield first, stop


def _decoded(value: bytes) -> UserEvent | None:
    try:
        return UserEvent.from_record(value)
    except ValidationError:
        return None
