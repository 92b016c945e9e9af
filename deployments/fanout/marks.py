"""Where users' signals lie, noted as they are acknowledged, so that a backfill need not scan a partition.

A mark is a hint: one that is late or lost makes a backfill begin further back, and nothing else. So marks
travel with the checkpoints, behind whose producer no signal waits.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final

import orjson

from messaging.ports import Record
from models.events import MARK_EVERY, SequenceMark, mark_key

_SCHEMA: Final = SequenceMark.model_fields["schema_"].default
_TOGETHER: Final = 500
"""Marks encoded before other tasks get the loop: about a millisecond."""
_MOST_WAITING: Final = 50_000
"""Per partition; while the broker takes none, the oldest give way."""

Place = tuple[str, int, int]
"""A user, a sequence, and the offset of the signal."""


class Marks:
    """Marks of acknowledged batches that wait to be written, per partition. Each user's first signal is
    marked, and from then on one in `MARK_EVERY`.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, deque[Place]] = defaultdict(partial(deque, maxlen=_MOST_WAITING))

    def note(
        self, partition: int, base: int, records: Sequence[Record], sequences: Mapping[str, int]
    ) -> None:
        """These records are valid in the log from offset `base` on; `sequences` is each user's last in them,
        in the order of the records.
        """
        if len(records) == len(sequences):
            found = [
                (user, sequence, base + place)
                for place, (user, sequence) in enumerate(sequences.items())
                if sequence % MARK_EVERY == 1
            ]
        else:
            found = [
                (u, s, base + place) for u, s, place in _numbered(records, sequences) if s % MARK_EVERY == 1
            ]
        if found:
            self._waiting[partition].extend(found)

    def take(self, partition: int) -> list[Record]:
        """The next marks to write, at most one turn's worth; empty when none waits."""
        waiting = self._waiting[partition]
        return [_record(*waiting.popleft()) for _ in range(min(len(waiting), _TOGETHER))]


def _numbered(records: Sequence[Record], sequences: Mapping[str, int]) -> Iterator[tuple[str, int, int]]:
    """User, sequence and place of every record, the last first: users with several accounts have several."""
    left = dict(sequences)
    for place in range(len(records) - 1, -1, -1):
        user = records[place].key.decode()
        yield user, left[user], place
        left[user] -= 1


def _record(user_id: str, sequence: int, offset: int) -> Record:
    """A `models.events.SequenceMark`, at a seventh of the time that its type takes."""
    mark = {"schema": _SCHEMA, "user_id": user_id, "sequence": sequence, "offset": offset}
    return Record(mark_key(user_id, sequence), orjson.dumps(mark))
