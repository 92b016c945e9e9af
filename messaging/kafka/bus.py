"""`EventBus` on a Kafka cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import NewTopic
from aiokafka.structs import TopicPartition

from messaging.config import KafkaConfig
from messaging.denials import Denials
from messaging.kafka import admin, reader
from messaging.kafka.caller import Caller
from messaging.kafka.hard_close import kill_consumer
from messaging.kafka.membership import KafkaMembership
from messaging.kafka.producer import KafkaProducer
from messaging.kafka.retired import Retired
from messaging.ports import LogRecord, Membership, Producer, Tail, TopicState
from models.metrics import Meter


class KafkaBus:
    """Owns what it hands out and closes it with itself. Tails, members, producers and reads at the same time
    have a connection each, so that a long poll of one never stands before a question of another.
    """

    def __init__(self, config: KafkaConfig, client_id: str, meter: Meter | None = None) -> None:
        self._caller = Caller(config, client_id, Denials("kafka", config.username, meter))
        self._asker: AIOKafkaConsumer | None = None
        self._asking = asyncio.Lock()
        self._readers = reader.Readers(self._caller)
        self._retired = Retired()
        self._producers: list[KafkaProducer] = []
        self._tails: list[reader.KafkaTail] = []
        self._members: list[KafkaMembership] = []
        self._ends: dict[TopicPartition, tuple[int, int]] = {}

    async def producer(self, name: str) -> Producer:
        """See `EventBus.producer`. Raises BrokerUnavailable if the cluster cannot be reached."""
        producer = KafkaProducer(self._caller.named(name))
        async with self._caller.asking(f"start producer {name}"):
            await producer.start()
        self._producers.append(producer)
        return producer

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """See `EventBus.bounds`."""
        place = TopicPartition(topic, partition)
        async with self._asking_leader(f"bounds of {topic}[{partition}]", topic) as asker:
            firsts, ends = await asyncio.gather(asker.beginning_offsets([place]), asker.end_offsets([place]))
        return firsts[place], await self._exact_end(place, ends[place])

    async def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int:
        """See `EventBus.offset_at`."""
        place = TopicPartition(topic, partition)
        async with self._asking_leader(f"offset by time in {topic}[{partition}]", topic) as asker:
            found = (await asker.offsets_for_times({place: timestamp_ms}))[place]
            ends = await asker.end_offsets([place])
        if found is not None and found.timestamp >= timestamp_ms:
            return int(found.offset)
        return await self._exact_end(place, ends[place])

    def read(
        self, topic: str, partition: int, start: int, stop: int
    ) -> AsyncGenerator[list[LogRecord], None]:
        """See `EventBus.read`."""
        return self._readers.read(TopicPartition(topic, partition), start=start, stop=stop)

    async def tail(self, topic: str, starts: Mapping[int, int], *, late_ms: int = 0) -> Tail:
        """See `EventBus.tail`."""
        tail = reader.KafkaTail(self._caller.unhurried(late_ms), topic, starts)
        await tail.start()
        self._tails.append(tail)
        return tail

    async def join(self, group: str, topic: str) -> Membership:
        """See `EventBus.join`."""
        member = KafkaMembership(self._caller, group, topic)
        await member.start()
        self._members.append(member)
        return member

    async def topics(self) -> Mapping[str, TopicState]:
        """See `EventBus.topics`."""
        return await admin.topic_states(self._caller)

    async def create_topic(
        self, name: str, *, partitions: int, policy: Mapping[str, str], replication: int
    ) -> None:
        """See `EventBus.create_topic`. Returns when every partition has a leader that answers."""
        topic = NewTopic(name, partitions, replication, topic_configs=dict(policy))
        await admin.create_topic(self._caller, topic)
        asker = await self._ready()
        async with self._caller.asking(f"wait for leaders of {name}"):
            await asker.end_offsets([TopicPartition(name, partition) for partition in range(partitions)])

    async def ping(self, *, timeout_s: float) -> None:
        """See `EventBus.ping`."""
        async with self._caller.asking("ping", timeout_s=timeout_s):
            await (await self._ready()).topics()

    async def close(self) -> None:
        """End everything side by side; bounded, whatever the broker does."""
        asker, self._asker = self._asker, None
        await asyncio.gather(
            *(producer.close() for producer in self._producers),
            *(tail.close() for tail in self._tails),
            *(member.leave() for member in self._members),
            self._readers.close(),
            *([kill_consumer(asker)] if asker else []),
            self._retired.close(),
        )

    async def _exact_end(self, place: TopicPartition, reported: int) -> int:
        """Tansu reports one after the first record of the last batch as the end. While it reports the same,
        the last batch is the same, so a log that nobody writes to is fetched from once.
        """
        if self._caller.config.idempotent or reported == 0:
            return reported
        known = self._ends.get(place)
        if known is None or known[0] != reported:
            end = await reader.end_by_fetch(self._caller, place, at_least=reported)
            known = self._ends[place] = reported, end
        return known[1]

    @asynccontextmanager
    async def _asking_leader(self, what: str, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
        """The asker, bounded. One without an answer is replaced: aiokafka would go on to ask a broker that is
        frozen, and no leader any more, for minutes.
        """
        asker = await self._ready()
        async with self._caller.asking(what, about=topic, timeout_s=self._caller.answer_s):
            try:
                yield asker
            except BaseException:
                if self._asker is asker:
                    self._asker = None
                    self._retired.add(asker)
                raise

    async def _ready(self) -> AIOKafkaConsumer:
        """The one consumer that asks about offsets and holds no partitions."""
        async with self._asking:
            if self._asker is None:
                self._asker = await reader.opened(self._caller.named("asker"))
            return self._asker
