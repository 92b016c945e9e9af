"""Appends of explicit batches with exactly three outcomes: a base offset, AppendRefused, AppendUnknown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final, Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder

from messaging.backoff import Backoff
from messaging.denials import Denials
from messaging.kafka.caller import Caller
from messaging.kafka.client import new_producer
from messaging.kafka.failures import append_error, not_sent
from messaging.kafka.hard_close import kill_producer
from messaging.ports import ProducerHealth, Record
from messaging.sizes import MAX_BATCH_BYTES, fitting
from models.errors import AppendNotSent, AppendUnknown

COMPRESS_FROM: Final = 32 * 1024
"""Bytes of values; measured between four signals and forty (`docs/decisions/0004`)."""
_PLAIN: Final = 0
"""Kafka's own number for no compression."""


class BatchMaker(Protocol):
    """A producer of aiokafka, as far as it makes empty batches: compressed as it was told."""

    def create_batch(self) -> BatchBuilder: ...


class KafkaProducer:
    """One aiokafka producer at a time: `rebuild` ends it, the next append starts another.

    Each append owns its outcome, a future that is settled once: by the broker's answer, by the timeout of the
    caller, or by a rebuild. The library's own futures may stay pending for ever and are never awaited alone.
    A built batch is never sent again (that wedges aiokafka): every append builds its own from the records.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._live: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._pending: dict[asyncio.Future[int], float] = {}
        self._known: dict[str, frozenset[int]] = {}
        self._backoff = Backoff()
        self._unknown = 0
        self._rebuilds = 0
        self._closed = False

    async def start(self) -> None:
        """Connect; an idempotent producer gets its id. One that fails to start leaves nothing behind."""
        async with self._starting:
            if self._live is not None:
                return
            producer = new_producer(self._caller.config, self._caller.client_id)
            try:
                await producer.start()
            except BaseException:
                await kill_producer(producer)
                raise
            self._live = producer

    async def append(self, topic: str, partition: int, records: Sequence[Record], *, timeout_s: float) -> int:
        """See `Producer.append`. What fails before the batch is queued was not sent."""
        place = f"{topic}[{partition}]"
        outcome: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                sent = await self._queue(topic, partition, records)
                self._watch(sent, outcome, place)
                base = await outcome
        except AppendUnknown:
            self._unknown += 1
            raise
        except (TimeoutError, KafkaError, OSError) as error:
            if outcome not in self._pending:
                raise not_sent(error, place, self._caller.denials) from error
            self._unknown += 1
            raise AppendUnknown(f"append to {place} was not acknowledged within {timeout_s} s") from error
        finally:
            self._pending.pop(outcome, None)
        self._backoff.reset()
        return base

    @property
    def batch_bytes(self) -> int:
        """See `Producer.batch_bytes`."""
        return MAX_BATCH_BYTES

    def fits(self, records: Sequence[Record]) -> int:
        """See `Producer.fits`."""
        return fitting(records, MAX_BATCH_BYTES)

    async def rebuild(self) -> None:
        """See `Producer.rebuild`. The next append connects again."""
        self._rebuilds += 1
        await self._drop("the producer was rebuilt")
        await asyncio.sleep(self._backoff.next_s())

    async def close(self) -> None:
        """See `Producer.close`."""
        self._closed = True
        await self._drop("the producer was closed")

    def health(self) -> ProducerHealth:
        """See `Producer.health`."""
        oldest = next(iter(self._pending.values()), None)
        age_s = 0.0 if oldest is None else asyncio.get_running_loop().time() - oldest
        return ProducerHealth(oldest_pending_s=age_s, unknown=self._unknown, rebuilds=self._rebuilds)

    async def _queue(self, topic: str, partition: int, records: Sequence[Record]) -> asyncio.Future[Any]:
        """Hand the batch to a started producer; the future is the library's."""
        if self._closed:
            raise AppendNotSent(f"append to {topic}[{partition}] was not sent: the producer is closed")
        if self._live is None:
            await self.start()
        producer = self._live
        if producer is None or partition not in await self._partitions(producer, topic):
            raise AppendNotSent(
                f"append to {topic}[{partition}] was not sent: no such partition, or a rebuild"
            )
        batch = batch_of(producer, records)
        sent: asyncio.Future[Any] = await producer.send_batch(batch, topic, partition=partition)
        return sent

    async def _partitions(self, producer: AIOKafkaProducer, topic: str) -> frozenset[int]:
        """A topic's partitions, asked for once: they never change in place."""
        if topic not in self._known:
            self._known[topic] = frozenset(await producer.partitions_for(topic))
        return self._known[topic]

    def _watch(self, sent: asyncio.Future[Any], outcome: asyncio.Future[int], place: str) -> None:
        sent.add_done_callback(lambda answer: _settle(outcome, answer, place, self._caller.denials))
        self._pending[outcome] = asyncio.get_running_loop().time()

    async def _drop(self, why: str) -> None:
        producer, self._live = self._live, None
        for outcome in self._pending:
            if not outcome.done():
                outcome.set_exception(AppendUnknown(f"{why} while an append was in flight"))
        if producer is not None:
            await kill_producer(producer)


def batch_of(producer: BatchMaker, records: Sequence[Record]) -> Any:
    """One batch of all records; AppendNotSent if they do not fit, or if there are none.

    A small one is not compressed: the broker has to unpack it, which takes longer than the bytes do.
    """
    if not records:
        raise AppendNotSent("there was no record to append")
    large = sum([len(value) for _, value, _ in records if value]) >= COMPRESS_FROM
    batch = producer.create_batch() if large else BatchBuilder(MAX_BATCH_BYTES, _PLAIN)
    append, now_ms = batch.append, time.time_ns() // 1_000_000
    for key, value, headers in records:
        if append(timestamp=now_ms, key=key, value=value, headers=list(headers)) is None:
            raise AppendNotSent(f"{len(records)} records are too large for one batch; ask `fits` first")
    batch.close()
    return batch


def _settle(outcome: asyncio.Future[int], answer: asyncio.Future[Any], place: str, denials: Denials) -> None:
    """Translate the library's answer; one that comes after the outcome was settled changes nothing."""
    error = None if answer.cancelled() else answer.exception()
    if outcome.done():
        return
    if error is not None:
        outcome.set_exception(append_error(error, place, denials))
    elif answer.cancelled() or answer.result().offset < 0:
        outcome.set_exception(AppendUnknown(f"append to {place} was answered without an offset"))
    else:
        outcome.set_result(answer.result().offset)
