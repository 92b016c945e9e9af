"""Where in its partition a user's signals lie: the sequence marks of `user.signal_state`, folded.

A mark is a hint. What lies at its offset may have been removed by retention, so whoever starts there looks at
what it finds first. Marks may also be missing: then the newest checkpoint is all there is.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from messaging.ports import EventBus, LogRecord
from messaging.topics import SIGNAL_STATE
from models.events import CHECKPOINT_KEY, MARK_EVERY, MARK_PREFIX, MARKS_KEPT, Checkpoint, SequenceMark

MOST_USERS: Final = 50_000
"""Whose marks one process holds, at a kilobyte each."""
_FRESH_S: Final = 1.0
"""For so long a fold is not read on; writers let marks wait for longer than that."""
_CHECKPOINTS: Final = 4
"""So many are kept, because a late one of a frozen owner may lie behind newer ones."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A user's signal with this sequence was written at this offset."""

    sequence: int
    offset: int


class PartitionMarks:
    """The marks of one partition up to `position`: per user a ring of `MARKS_KEPT`, as compaction does."""

    def __init__(self) -> None:
        self.position = 0
        self.read_s = float("-inf")
        self.reading: Final = asyncio.Lock()
        self._rings: dict[str, array[int]] = {}
        self._checkpoints: deque[bytes] = deque(maxlen=_CHECKPOINTS)

    def __len__(self) -> int:
        """Users with marks."""
        return len(self._rings)

    def apply(self, records: Iterable[LogRecord]) -> None:
        """Fold the next records of the partition; what cannot be read is passed over."""
        for record in records:
            self.position = record.offset + 1
            if record.value and record.key.startswith(MARK_PREFIX):
                self._note(record.value)
            elif record.value and record.key == CHECKPOINT_KEY:
                self._checkpoints.append(record.value)

    def of(self, user_id: str) -> list[Mark]:
        """The user's marks, the lowest sequence first."""
        ring = self._rings.get(user_id, array("q"))
        pairs = sorted(zip(ring[::2], ring[1::2], strict=True))
        return [Mark(sequence, offset) for sequence, offset in pairs if sequence > 0]

    def checkpoint(self) -> Checkpoint | None:
        """Of the newest checkpoints the one furthest on: it names the claims before its position."""
        found = [one for value in self._checkpoints if (one := _decoded(value))]
        return max(found, key=lambda one: one.position, default=None)

    def _note(self, value: bytes) -> None:
        try:
            mark = SequenceMark.from_record(value)
        except ValidationError:
            return
        ring = self._rings.setdefault(mark.user_id, array("q", bytes(16 * MARKS_KEPT)))
        place = mark.sequence // MARK_EVERY % MARKS_KEPT * 2
        ring[place : place + 2] = array("q", (mark.sequence, mark.offset))


def _decoded(value: bytes) -> Checkpoint | None:
    try:
        return Checkpoint.from_record(value)
    except ValidationError:
        return None


class SignalMarks:
    """The marks of the partitions that were asked about, read on when they are asked about again.

    At most `most_users` are held; beyond that the partitions go that were asked about longest ago.
    """

    def __init__(self, bus: EventBus, *, most_users: int = MOST_USERS) -> None:
        self._bus = bus
        self._most_users = most_users
        self._held: OrderedDict[int, PartitionMarks] = OrderedDict()

    async def of(self, partition: int) -> PartitionMarks:
        """The marks of a partition as of a second ago or less; BrokerUnavailable if they cannot be read."""
        held = self._held.setdefault(partition, PartitionMarks())
        self._held.move_to_end(partition)
        async with held.reading:
            if asyncio.get_running_loop().time() - held.read_s > _FRESH_S:
                await self._read_on(held, partition)
        self._forget()
        return held

    async def _read_on(self, held: PartitionMarks, partition: int) -> None:
        now_s = asyncio.get_running_loop().time()
        first, stop = await self._bus.bounds(SIGNAL_STATE.name, partition)
        start = max(first, held.position)
        if start < stop:
            async for records in self._bus.read(SIGNAL_STATE.name, partition, start, stop):
                held.apply(records)
        held.position, held.read_s = stop, now_s

    def _forget(self) -> None:
        while len(self._held) > 1 and sum(map(len, self._held.values())) > self._most_users:
            self._held.popitem(last=False)
