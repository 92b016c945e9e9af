"""An own consumer: every record of three topics from the beginning, in order per partition."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.partitioner import murmur2

from models.errors import TopicMismatch
from signals.ledger import LogEntry

SIGNALS: Final = "user.signals"
PREDICTIONS: Final = "hub.predictions"
SUBSCRIPTIONS: Final = "user.subscriptions"


@asynccontextmanager
async def consumer(
    connection: Mapping[str, Any], *, fetch_max_wait_ms: int
) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer outside any group, assigned to all partitions of the three topics, at their beginning.

    `connection` is what aiokafka is to be told of the cluster.
    """
    client = AIOKafkaConsumer(**connection, fetch_max_wait_ms=fetch_max_wait_ms, enable_auto_commit=False)
    try:
        await client.start()
        partitions = await _partitions(client, (SIGNALS, PREDICTIONS, SUBSCRIPTIONS))
        client.assign(partitions)
        await client.seek_to_beginning(*partitions)
        yield client
    finally:
        await client.stop()


async def _partitions(client: AIOKafkaConsumer, topics: Iterable[str]) -> list[TopicPartition]:
    cluster = await client._client.fetch_all_metadata()  # noqa: SLF001 - the public call drops the partitions
    found = {topic: cluster.partitions_for_topic(topic) for topic in topics}
    missing = [topic for topic, partitions in found.items() if not partitions]
    if missing:
        raise TopicMismatch(f"the broker has no {', '.join(missing)}; run `hub topics create`")
    return [TopicPartition(topic, number) for topic, partitions in found.items() for number in partitions]


async def caught_up(client: AIOKafkaConsumer) -> bool:
    """Whether everything that is in the log now has been read."""
    ends = await client.end_offsets(list(client.assignment()))
    return all([await client.position(partition) >= end for partition, end in ends.items()])


def entry(record: ConsumerRecord) -> LogEntry:
    """The record as the ledger takes it."""
    return LogEntry(record.partition, record.offset, record.timestamp, record.key or b"", record.value)


def user_partition(key: bytes, partitions: int) -> int:
    """Kafka's own placement: murmur2, sign bit dropped."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)
