"""Where in their partitions a user's events lie: the marks of `user.event_marks`, folded.

A topic of its own, so that who saves events needs no right to write what owners restore from.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

from pydantic import ValidationError

from messaging.ports import EventBus, LogRecord
from messaging.topics import EVENT_MARKS
from models.user_event import EventMark

MOST_HELD: Final = 500_000
"""Pairs of a user and a topic whose blocks one process holds."""


class EventMarks:
    """Reads a partition's marks on whenever it is asked about one, so an answer holds all that the log held.

    At most `most_held` pairs are kept; beyond that the partitions go that were asked about longest ago.
    """

    def __init__(self, bus: EventBus, *, most_held: int = MOST_HELD) -> None:
        self._bus = bus
        self._most_held = most_held
        self._folds: OrderedDict[int, _Fold] = OrderedDict()

    async def blocks(self, user_id: str, topic: str, partition: int) -> set[int]:
        """First offsets of the blocks of the user's partition of `topic` that hold events of the user.

        BrokerUnavailable if the marks cannot be read.
        """
        fold = self._folds.setdefault(partition, _Fold())
        self._folds.move_to_end(partition)
        async with fold.reading:
            await self._read_on(fold, partition)
        self._forget()
        return set(fold.blocks.get((user_id, topic), ()))

    async def _read_on(self, fold: _Fold, partition: int) -> None:
        first, end = await self._bus.bounds(EVENT_MARKS.name, partition)
        start = max(first, fold.position)
        if start < end:
            async for records in self._bus.read(EVENT_MARKS.name, partition, start, end):
                for record in records:
                    fold.take(record)
        fold.position = end

    def _forget(self) -> None:
        while (
            len(self._folds) > 1 and sum(len(fold.blocks) for fold in self._folds.values()) > self._most_held
        ):
            self._folds.popitem(last=False)


class _Fold:
    """The marks of one partition up to `position`; `reading` lets one call at a time read on."""

    def __init__(self) -> None:
        self.position = 0
        self.reading = asyncio.Lock()
        self.blocks: dict[tuple[str, str], set[int]] = {}

    def take(self, record: LogRecord) -> None:
        """Note a mark; what cannot be read is passed over."""
        try:
            mark = EventMark.from_record(record.value or b"")
        except ValidationError:
            return
        self.blocks.setdefault((mark.user_id, mark.topic), set()).add(mark.offset)
