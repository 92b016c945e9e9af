"""How large a batch may be and how many records fit one, shared by every bus.

A batch that a broker refuses wedges an idempotent producer, so sizes are checked before anything is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from messaging.ports import Record

MAX_BATCH_BYTES: Final = 900_000
"""Below the broker's default `message.max.bytes` (1,048,588) by a safe margin."""

_BATCH_HEADER: Final = 61
_RECORD_OVERHEAD: Final = 36
_HEADER_OVERHEAD: Final = 10


def record_bytes(record: Record) -> int:
    """Upper bound of a record's size in a batch of format v2 (every varint at its longest)."""
    size = _RECORD_OVERHEAD + len(record.key) + len(record.value or b"")
    for name, value in record.headers:
        size += _HEADER_OVERHEAD + len(name.encode()) + len(value)
    return size


def fitting(records: Sequence[Record], limit: int) -> int:
    """How many of the records, from the first, fit one batch of `limit` bytes."""
    room = limit - _BATCH_HEADER
    for count, record in enumerate(records):
        room -= record_bytes(record)
        if room < 0:
            return count
    return len(records)
