"""The last records of the log, of all users, as they lie there.

Clients that come back after a moment, or all at once after a redeploy, go on from here: a read of the log
costs each of them tens of milliseconds. Records are judged only when somebody asks for their user's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from messaging.ports import LogRecord


class Recent:
    """At most `most` records, the newest of all partitions together."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._order: deque[bytes] = deque()
        self._of: dict[bytes, deque[LogRecord]] = {}

    def keep(self, record: LogRecord) -> None:
        """The next record of its partition."""
        self._of.setdefault(record.key, deque()).append(record)
        self._order.append(record.key)
        if len(self._order) > self._most:
            self._forget(self._order.popleft())

    def of(self, key: bytes) -> Sequence[LogRecord]:
        """What is left of a user's, the oldest first; nothing between these is missing."""
        return self._of.get(key, ())

    def _forget(self, key: bytes) -> None:
        """The oldest record of all is the oldest of its key."""
        kept = self._of[key]
        kept.popleft()
        if not kept:
            del self._of[key]
