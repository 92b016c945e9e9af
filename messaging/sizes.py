"""How large a batch may be and how many records fit one, shared by every bus.

A batch that a broker refuses wedges an idempotent producer, so sizes are checked before anything is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from messaging.ports import Record

MAX_BATCH_BYTES: Final = 900_000
"""Below the broker's default `message.max.bytes` (1,048,588) by a safe margin."""

BATCH_OVERHEAD: Final = 61
RECORD_OVERHEAD: Final = 36
"""Of format v2, with every varint at its longest, so that a batch is never larger than thought."""
_HEADER_OVERHEAD: Final = 10


def fitting(records: Sequence[Record], limit: int) -> int:
    """How many of the records, from the first, fit one batch of `limit` bytes."""
    room = limit - BATCH_OVERHEAD
    for count, record in enumerate(records):
        room -= record_bytes(record)
        if room < 0:
            return count
    return len(records)


def record_bytes(record: Record) -> int:
    """What a record takes of a batch, at most."""
    size = RECORD_OVERHEAD + len(record.key) + len(record.value or b"")
    return size + _headers_bytes(record.headers) if record.headers else size


def _headers_bytes(headers: Sequence[tuple[str, bytes]]) -> int:
    return sum(_HEADER_OVERHEAD + len(name.encode()) + len(value) for name, value in headers)
