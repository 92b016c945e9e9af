"""What became of each routed request: at hand in the fast store, on record in `hub.decisions`.

The record is written in the background, from a bounded queue: a broker that is slow or away costs decisions
(counted), never a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from messaging.ports import EventBus, Producer, Record
from messaging.topics import DECISIONS, partition_of
from models.decision import Decision
from models.errors import AppendUnknown, MessagingError, NotFound, StoreUnavailable
from models.metrics import Meter
from models.outcome import OutcomeRecord, RecordedDecision
from models.principal import Principal
from storage.ports import FastStore, Key

_LOG = logging.getLogger(__name__)

KEPT_S: Final = 86_400.0
QUEUE: Final = 10_000
BATCH: Final = 500
APPEND_TIMEOUT_S: Final = 10.0
_KIND: Final = "decision"


class DecisionLog:
    """Remembers decisions for their callers. `run` is the one task that writes to the log."""

    def __init__(self, *, store: FastStore, bus: EventBus, meter: Meter) -> None:
        self._store = store
        self._bus = bus
        self._meter = meter
        self._queue: asyncio.Queue[tuple[int, Record]] = asyncio.Queue(QUEUE)

    async def remember(
        self, owner: Principal, decision: Decision, outcome: OutcomeRecord | None = None
    ) -> None:
        """Make the decision readable by its owner and queue its record, with what became of it if it was
        carried out. Neither fails nor waits for Kafka.
        """
        value = RecordedDecision.encode(decision, outcome)
        key = decision.decision_id.encode()
        headers = (("tenant-id", owner.tenant_id.encode()),)
        try:
            self._queue.put_nowait((partition_of(key, DECISIONS.partitions), Record(key, value, headers)))
        except asyncio.QueueFull:
            self._count("dropped", 1)
        with contextlib.suppress(StoreUnavailable):
            await self._store.put(_place(owner, decision.decision_id), value, ttl_s=KEPT_S)

    async def recall(self, owner: Principal, decision_id: str) -> RecordedDecision:
        """A decision of the caller; NotFound, in the same words, for a foreign, absent or forgotten one."""
        value = await self._store.get(_place(owner, decision_id))
        if value is None:
            raise NotFound("you have no such decision, or it was forgotten")
        return RecordedDecision.model_validate_json(value)

    async def run(self) -> None:
        """Write what is queued, until cancelled."""
        producer = await self._bus.producer("gateway-decisions")
        try:
            while True:
                for partition, records in (await self._next()).items():
                    await self._append(producer, partition, records)
        finally:
            await producer.close()

    async def _next(self) -> Mapping[int, Sequence[Record]]:
        """Wait for a record and take what else is there, by partition."""
        batches: dict[int, list[Record]] = defaultdict(list)
        partition, record = await self._queue.get()
        batches[partition].append(record)
        for _ in range(min(self._queue.qsize(), BATCH)):
            partition, record = self._queue.get_nowait()
            batches[partition].append(record)
        return batches

    async def _append(self, producer: Producer, partition: int, records: Sequence[Record]) -> None:
        while records:
            fitting = records[: max(1, producer.fits(records))]
            self._count(await self._written(producer, partition, fitting), len(fitting))
            records = records[len(fitting) :]

    async def _written(self, producer: Producer, partition: int, records: Sequence[Record]) -> str:
        """The outcome of one append; a lost decision record is counted, not repeated."""
        try:
            await producer.append(DECISIONS.name, partition, records, timeout_s=APPEND_TIMEOUT_S)
        except AppendUnknown:
            await producer.rebuild()
            return "unknown"
        except MessagingError as error:
            _LOG.warning("decisions not recorded: %s", error.message)
            return "refused"
        return "ok"

    def _count(self, outcome: str, records: int) -> None:
        self._meter.count("hub_append_total", {"topic": DECISIONS.name, "outcome": outcome}, records)


def _place(owner: Principal, decision_id: str) -> Key:
    return Key(owner.tenant_id, _KIND, f"{owner.user_id}/{decision_id}")
