"""Poison goes to `user.signals.dlq` with where it came from, for people to look at.

Only what no reader can read: never a signal that came too late, and nothing is ever taken back from there by
itself, because a trade must not be repeated without looking at it anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import orjson

from deployments.reader.config import ReaderConfig
from deployments.reader.fold import MAX_VALUE, Judged
from messaging.ports import EventBus, Producer, Record
from messaging.topics import SIGNALS_DLQ
from models.errors import MessagingError

_LOG: Final = logging.getLogger(__name__)


class DeadLetters:
    """Owns its producer. A letter that cannot be written is logged and counted, and delays nobody for long:
    the record itself stays where it is for as long as the topic keeps it.
    """

    def __init__(self, bus: EventBus, *, reader: str, clock: Callable[[], int], config: ReaderConfig) -> None:
        self._bus = bus
        self._reader = reader
        self._clock = clock
        self._config = config
        self._producer: Producer | None = None
        self._writing = asyncio.Lock()
        self.written = 0
        self.failed = 0

    async def put(self, poison: Judged) -> None:
        """Write one; a crash may write it twice, under the same place of origin."""
        first_ns = self._clock()
        async with self._writing:
            for attempt in range(1, self._config.dead_letter_attempts + 1):
                if await self._written(poison, attempt=attempt, first_ns=first_ns):
                    self.written += 1
                    return
        self.failed += 1
        record = poison.record
        _LOG.error(
            "%s[%d] offset %d is %s (%s), and no dead letter could be written",
            record.topic,
            record.partition,
            record.offset,
            poison.verdict.value,
            poison.detail,
        )

    async def close(self) -> None:
        """Give the producer back."""
        if self._producer is not None:
            await self._producer.close()

    async def _written(self, poison: Judged, *, attempt: int, first_ns: int) -> bool:
        times = (first_ns, self._clock())
        letter = letter_of(poison, reader=self._reader, attempt=attempt, times_ns=times)
        try:
            if self._producer is None:
                self._producer = await self._bus.producer(f"{self._reader}-dead-letters")
            await self._producer.append(
                SIGNALS_DLQ.name,
                poison.record.partition,
                [letter],
                timeout_s=self._config.dead_letter_timeout_s,
            )
        except MessagingError as error:
            _LOG.warning("dead letter: %s", error)
            await self._rebuild()
            return False
        return True

    async def _rebuild(self) -> None:
        try:
            if self._producer is not None:
                await self._producer.rebuild()
        except MessagingError as error:
            _LOG.warning("dead letter: %s", error)


def letter_of(poison: Judged, *, reader: str, attempt: int, times_ns: tuple[int, int]) -> Record:
    """The record for the dead letter topic: key and value as they were, provenance in the headers.

    A value that is too large is cut, and `dlq-cut` says from how many bytes.
    """
    record, value = poison.record, poison.record.value
    facts: dict[str, object] = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp-ms": record.timestamp_ms,
        "error": poison.verdict.value,
        "detail": poison.detail[:500],
        "schema": _schema(value),
        "reader": reader,
        "attempts": attempt,
        "first-ns": times_ns[0],
        "last-ns": times_ns[1],
    }
    if value is not None and len(value) > MAX_VALUE:
        facts["cut"], value = len(value), value[:MAX_VALUE]
    headers = tuple((f"dlq-{name}", str(fact).encode()) for name, fact in facts.items())
    return Record(record.key[:MAX_VALUE], value, headers)


def _schema(value: bytes | None) -> str:
    """What the record calls itself, if it can be read at all."""
    try:
        body = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return ""
    return str(body.get("schema", ""))[:100] if isinstance(body, dict) else ""
