"""Numbered reports of one process on their way to a topic: in order, and each there at least once.

A report that may be in the log is sent again before the next one, under its own number, so that who counts
can tell that it came twice.
"""

from __future__ import annotations

import logging
from collections import deque
from random import Random
from typing import Final

from messaging.ports import EventBus, Producer, Record
from messaging.topics import Topic
from models.base import Frozen
from models.errors import AppendNotSent, MessagingError
from models.metrics import Meter

_LOG: Final = logging.getLogger(__name__)
_APPEND_S: Final = 5.0


class Reports:
    """Put reports in, and flush. `name` is that of the process; `rng` names this start of it."""

    def __init__(self, bus: EventBus, topic: Topic, *, name: str, rng: Random, meter: Meter) -> None:
        self._bus = bus
        self._topic = topic.name
        self.source = f"{name[:80]}-{rng.randbytes(8).hex()}"
        self._meter = meter
        self._sequence = 0
        self._waiting: deque[Record] = deque()
        self._producer: Producer | None = None

    @property
    def waiting(self) -> int:
        """How many reports are not known to be in the log."""
        return len(self._waiting)

    def number(self) -> int:
        """The number of the next report."""
        self._sequence += 1
        return self._sequence

    def put(self, key: str, report: Frozen) -> None:
        """A report, behind those that wait."""
        self._waiting.append(Record(key.encode(), report.model_dump_json(by_alias=True).encode()))

    async def flush(self) -> bool:
        """Append what waits; False if the log does not take it now, which is then tried again."""
        try:
            while self._waiting:
                await self._append(self._waiting[0])
                self._waiting.popleft()
                self._say("reported")
        except MessagingError as error:
            _LOG.warning("reports for %s wait: %s", self._topic, error.message)
            self._say("waiting")
            return False
        return True

    async def close(self) -> None:
        """Give the producer back."""
        if self._producer:
            await self._producer.close()

    async def _append(self, record: Record) -> None:
        if self._producer is None:
            self._producer = await self._bus.producer(self._topic)
        try:
            await self._producer.append(self._topic, 0, [record], timeout_s=_APPEND_S)
        except AppendNotSent:
            raise
        except MessagingError:
            await self._producer.rebuild()
            raise

    def _say(self, outcome: str) -> None:
        self._meter.count("hub_reports_total", {"topic": self._topic, "outcome": outcome})
