"""What a record of a topic of user events is: an event of somebody, or something to be kept away, and why.

Whose an event is comes from the envelope that the gateway wrote, and counts only if the record's key and its
partition say the same: what does not fit is nobody's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from pydantic import TypeAdapter, ValidationError

from messaging.ports import LogRecord
from messaging.topics import EVENT_MARKS, partition_of
from models.errors import BadValue
from models.ids import checked_user_id
from models.user_event import EventId, EventKind, UserEvent
from storage.postgres.user_data_intake import REPEAT_NS, EventRow, QuarantineRow

MAX_BYTES: Final = 256 << 10
"""Four times what the gateway takes, so that no page of events can fill a process."""
EARLIEST_NS: Final = 1_577_836_800 * 10**9
"""1 January 2020: no hub has taken an event before."""
AHEAD_NS: Final = 3_600 * 10**9
"""How far the clock of the gateway that took an event may be ahead of this one."""
_DAY_NS: Final = 86_400 * 10**9
_TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TYPE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_EVENT_ID: Final = TypeAdapter(EventId)


class Refusal(StrEnum):
    """Why a record is kept in quarantine."""

    UNREADABLE = "unreadable"
    TOO_LARGE = "too_large"
    BAD_IDENTITY = "bad_identity"
    KEY_MISMATCH = "key_mismatch"
    WRONG_PARTITION = "wrong_partition"
    IMPOSSIBLE_TIME = "impossible_time"
    UNSTORABLE = "unstorable"


def read_record(record: LogRecord, kind: EventKind, *, now_ns: int) -> EventRow | Refusal:
    """The event as it is to be stored, or why it is not."""
    value = record.value or b""
    if len(value) > MAX_BYTES:
        return Refusal.TOO_LARGE
    try:
        event = UserEvent.from_record(value)
    except ValidationError:
        return Refusal.UNREADABLE
    return _whose(record, kind, event) or _when(event, now_ns) or _row(event)


def kept_away(record: LogRecord, refusal: Refusal, *, now_ns: int) -> QuarantineRow:
    """The record as it is kept in quarantine."""
    place = (record.topic, record.partition, record.offset, record.timestamp_ms)
    return QuarantineRow(*place, refusal.value, record.key, record.value or b"", now_ns)


def distinct(rows: Iterable[EventRow]) -> list[EventRow]:
    """The rows without those that repeat one before them, by the same rule as in the database."""
    kept: list[EventRow] = []
    times: dict[tuple[str, str, str], list[int]] = {}
    for row in rows:
        known = times.setdefault((row.tenant_id, row.user_id, row.event_id), [])
        if all(abs(row.at_ns - at_ns) > REPEAT_NS for at_ns in known):
            known.append(row.at_ns)
            kept.append(row)
    return kept


def _whose(record: LogRecord, kind: EventKind, event: UserEvent) -> Refusal | None:
    try:
        checked_user_id(event.user_id)
        _EVENT_ID.validate_python(event.event_id)
        key = kind.key(event)
    except (BadValue, ValueError, TypeError):
        return Refusal.BAD_IDENTITY
    if not (_TENANT.fullmatch(event.tenant_id) and _TYPE.fullmatch(event.type)):
        return Refusal.BAD_IDENTITY
    if record.key != key:
        return Refusal.KEY_MISMATCH
    home = partition_of(event.user_id.encode(), EVENT_MARKS.partitions)
    return None if record.partition == home else Refusal.WRONG_PARTITION


def _when(event: UserEvent, now_ns: int) -> Refusal | None:
    """An event is filed under the moment the hub took it. When it occurred is its writer's word: it may be
    long ago, but not yet to come.
    """
    taken = EARLIEST_NS <= event.at_ns <= now_ns + AHEAD_NS
    occurred = 0 <= event.occurred_ns <= event.at_ns + _DAY_NS
    return None if taken and occurred else Refusal.IMPOSSIBLE_TIME


def _row(event: UserEvent) -> EventRow | Refusal:
    try:
        body = json.dumps(event.body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        body.encode()
    except ValueError:  # not a number, or half of a surrogate pair
        return Refusal.UNSTORABLE
    whose = (event.tenant_id, event.user_id, event.event_id, event.type)
    return EventRow(*whose, event.occurred_ns, event.at_ns, body)
