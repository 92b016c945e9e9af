"""Reading partitions without a group: bounded reads by lent consumers, and tails that heal themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import ConsumerRecord, TopicPartition

from messaging.kafka.caller import Caller
from messaging.kafka.client import new_consumer
from messaging.kafka.hard_close import kill_consumer
from messaging.kafka.progress import Progress
from messaging.kafka.retired import Retired
from messaging.ports import LogRecord
from models.errors import BrokerUnavailable

_READ_POLL_MS: Final = 100
_IDLE_KEPT: Final = 4
"""Consumers kept for the next reads: as many as read at once when partitions change hands."""
_STUCK_S: Final = 9.0
"""A consumer that stays below the end of a partition for so long is replaced (aiokafka #1154)."""
_LOOKS: Final = 3
"""How often that is looked at in that time; so a consumer is replaced 12 s after it went deaf."""


async def opened(caller: Caller) -> AIOKafkaConsumer:
    """A started consumer outside of any group; BrokerUnavailable leaves nothing behind."""
    consumer = new_consumer(caller.config, caller.client_id)
    try:
        async with caller.asking(f"connect to {caller.config.bootstrap}"):
            await consumer.start()
    except BaseException:
        await kill_consumer(consumer)
        raise
    return consumer


def to_log_record(record: ConsumerRecord) -> LogRecord:
    """Our form of a record as aiokafka returns it; a record without a key has an empty one."""
    return LogRecord(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        record.key or b"",
        record.value,
        record.headers,
    )


class Readers:
    """Lends started consumers to bounded reads, and keeps a few: to connect takes longer than to read."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._idle: list[AIOKafkaConsumer] = []
        self._retired = Retired()
        self._closed = False

    async def read(
        self, place: TopicPartition, *, start: int, stop: int
    ) -> AsyncGenerator[list[LogRecord], None]:
        """Records in [start, stop). Ends on the position, so gaps of compaction cannot make it wait.

        Raises BrokerUnavailable if the position stands still for the answer timeout.
        """
        if start >= stop:
            return
        async with self._lent(place) as consumer:
            consumer.seek(place, start)
            position = start
            while position < stop:
                records, position = await self._fetched(consumer, place, position)
                if wanted := [to_log_record(record) for record in records if record.offset < stop]:
                    yield wanted

    async def close(self) -> None:
        """Keep none any more."""
        self._closed = True
        self._retire_idle()
        await self._retired.close()

    @asynccontextmanager
    async def _lent(self, place: TopicPartition) -> AsyncIterator[AIOKafkaConsumer]:
        """A consumer with one partition. One whose read was not finished is not lent again, and if it got no
        answer, no other is either: they all know the leaders of the same time.
        """
        consumer = self._idle.pop() if self._idle else await opened(self._caller)
        try:
            consumer.assign([place])
            yield consumer
            consumer.pause(place)
        except BaseException as error:
            self._retired.add(consumer)
            if isinstance(error, BrokerUnavailable):
                self._retire_idle()
            raise
        if self._closed or len(self._idle) >= _IDLE_KEPT:
            self._retired.add(consumer)
        else:
            self._idle.append(consumer)

    def _retire_idle(self) -> None:
        idle, self._idle = self._idle, []
        self._retired.add(*idle)

    async def _fetched(
        self, consumer: AIOKafkaConsumer, place: TopicPartition, position: int
    ) -> tuple[list[ConsumerRecord], int]:
        """The records from the position on, and the position behind them."""
        loop, what = asyncio.get_running_loop(), f"read {place.topic}[{place.partition}]"
        give_up_s = loop.time() + self._caller.answer_s
        while True:
            async with self._caller.asking(what, about=place.topic):
                fetched = await consumer.getmany(place, timeout_ms=_READ_POLL_MS)
                reached = await consumer.position(place)
                if reached != position:
                    return fetched.get(place, []), reached
                if loop.time() > give_up_s:
                    raise BrokerUnavailable(f"{what}: nothing new from {position}")


async def end_by_fetch(caller: Caller, place: TopicPartition, *, at_least: int) -> int:
    """The end of a partition as a fetch near it reports, for brokers whose other answer is too low."""
    consumer = await opened(caller)
    try:
        consumer.assign([place])
        consumer.seek(place, max(0, at_least - 1))
        async with caller.asking(f"end of {place.topic}[{place.partition}]"):
            while (end := consumer.highwater(place)) is None:
                await consumer.getmany(place, timeout_ms=_READ_POLL_MS)
    finally:
        await kill_consumer(consumer)
    return max(at_least, int(end))


class KafkaTail:
    """Owns one consumer. Positions are ours, so that a consumer that is stuck can be replaced by another."""

    def __init__(self, caller: Caller, topic: str, starts: Mapping[int, int]) -> None:
        self._caller = caller
        self._positions = {TopicPartition(topic, p): start for p, start in sorted(starts.items())}
        self._topic = topic
        self._consumer: AIOKafkaConsumer | None = None
        self._held: frozenset[TopicPartition] = frozenset()
        self._progress: Progress[TopicPartition] = Progress(_STUCK_S)
        self._looked_s = 0.0
        self.replaced = 0

    async def start(self) -> None:
        """Connect and go to the positions."""
        consumer = await opened(self._caller)
        consumer.assign(list(self._positions))
        for place, position in self._positions.items():
            consumer.seek(place, position)
        consumer.pause(*self._held)
        self._consumer = consumer
        self._progress = Progress(_STUCK_S)
        self._looked_s = asyncio.get_running_loop().time()

    async def batch(self, *, max_wait_s: float) -> list[LogRecord]:
        """See `Tail.batch`. What was fetched and could not be returned is fetched again next time."""
        fetched: dict[TopicPartition, list[ConsumerRecord]] = {}
        try:
            patience_s = max_wait_s + self._caller.patience_s
            async with self._asking(timeout_s=patience_s):
                consumer = await self._ready()
                fetched = await consumer.getmany(timeout_ms=int(max_wait_s * 1000))
                self._positions = {place: await consumer.position(place) for place in self._positions}
        except BaseException:
            if fetched:
                await self.close()
            raise
        return [to_log_record(record) for records in fetched.values() for record in records]

    def position(self, partition: int) -> int:
        """See `Tail.position`."""
        return self._positions[TopicPartition(self._topic, partition)]

    def hold(self, partitions: Collection[int]) -> None:
        """See `Tail.hold`. A paused partition is not fetched; what was fetched already is fetched again."""
        held = frozenset(place for place in self._positions if place.partition in partitions)
        if self._consumer is not None:
            self._consumer.pause(*(held - self._held))
            self._consumer.resume(*(self._held - held))
        self._held = held

    async def close(self) -> None:
        """See `Tail.close`."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await kill_consumer(consumer)

    async def _ready(self) -> AIOKafkaConsumer:
        """The consumer, or another if it stood still; asked before a fetch, so that none is thrown away."""
        if self._consumer is not None and await self._stands_still(self._consumer):
            self.replaced += 1
            await self.close()
        if self._consumer is None:
            await self.start()
        return self._consumer

    def _asking(self, timeout_s: float | None = None) -> AbstractAsyncContextManager[None]:
        return self._caller.asking(f"follow {self._topic}", about=self._topic, timeout_s=timeout_s)

    async def _stands_still(self, consumer: AIOKafkaConsumer) -> bool:
        """Whether the log went on without it. One that gets no answer to that is given up, too."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._looked_s < _STUCK_S / _LOOKS:
            return False
        self._looked_s = now_s
        positions = {place: at for place, at in self._positions.items() if place not in self._held}
        try:
            async with self._asking():
                ends = await consumer.end_offsets(list(positions))
        except BrokerUnavailable:
            await self.close()
            raise
        return bool(self._progress.look(positions, ends, now_s))
