"""What a socket is told: signals as they lie in the log, and small notes about the stream itself.

A signal's frame is its JSON, byte for byte. A note has a `type`: `beat`, `skipped` or `gap`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import orjson

from messaging.ports import LogRecord
from signals.reader import SignalHead


class Skip(StrEnum):
    """Why a signal is not sent though its sequence was given."""

    EXPIRED = "expired"
    OTHER_ACCOUNT = "other_account"


@dataclass(frozen=True, slots=True)
class Frame:
    """A signal on its way to a socket; not to be sent at or after `expires_ns`, this host's clock. `skip` is
    why it is not sent at all. `appended_ms` is the broker's time if it came live.
    """

    payload: bytes
    sequence: int
    expires_ns: int
    appended_ms: int | None
    skip: Skip | None = None

    @classmethod
    def of(cls, record: LogRecord, head: SignalHead, *, account: str | None, live: bool) -> Frame:
        """A valid signal, for a socket that wants this account or, with None, all of them."""
        foreign = account is not None and head.account_id != account
        return cls(
            payload=record.value or b"",
            sequence=head.sequence,
            expires_ns=head.expires_ns - head.clock_error_ns,
            appended_ms=record.timestamp_ms if live else None,
            skip=Skip.OTHER_ACCOUNT if foreign else None,
        )

    def skipped(self, now_ns: int) -> Skip | None:
        """Why it is not sent now, None if it is."""
        return self.skip or (Skip.EXPIRED if now_ns >= self.expires_ns else None)


def beat(last_sequence: int, now_ns: int) -> bytes:
    """Says that the socket has everything up to this sequence, and that the log moves."""
    return orjson.dumps({"type": "beat", "last_sequence": last_sequence, "at_ns": now_ns})


def skipped(first: int, last: int, reason: Skip) -> bytes:
    """Says that these sequences were given to signals that nobody may act on, or that were not asked for."""
    return orjson.dumps({"type": "skipped", "from": first, "to": last, "reason": reason.value})


def gap(after: int, before: int) -> bytes:
    """Says that signals between these two sequences may have been there, and are no longer in the log."""
    return orjson.dumps({"type": "gap", "after": after, "before": before})
