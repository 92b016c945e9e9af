"""What else could write one slot's records, given ready-made bytes: four ways, in a process of their own.

Told the name of a way, it writes all records with it and answers with the time until the last one was
acknowledged. Every way has the settings of the hub's own producer: idempotent, all replicas, batches up to
900,000 bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

import orjson
from aiokafka import AIOKafkaProducer

from benchmarks.child import commands, run, say
from messaging.topics import partition_of

TOPIC: Final = "benchmark.peers"
PARTITIONS: Final = 24
BATCH_BYTES: Final = 900_000
Pair = tuple[bytes, bytes]


class Send:
    """aiokafka as its documentation shows it: `send` per record, then wait for all."""

    def __init__(self, producer: AIOKafkaProducer, records: Sequence[Pair]) -> None:
        self._producer = producer
        self._records = records

    async def write(self) -> None:
        sent = [await self._producer.send(TOPIC, value, key=key) for key, value in self._records]
        await asyncio.gather(*sent)


class SendBatch:
    """aiokafka's explicit batches, one per partition; partitions are known beforehand."""

    def __init__(self, producer: AIOKafkaProducer, records: Sequence[Pair]) -> None:
        self._producer = producer
        self._by_partition: dict[int, list[Pair]] = {}
        for key, value in records:
            self._by_partition.setdefault(partition_of(key, PARTITIONS), []).append((key, value))

    async def write(self) -> None:
        await asyncio.gather(*(self._one(*item) for item in self._by_partition.items()))

    async def _one(self, partition: int, records: Sequence[Pair]) -> None:
        batch, now_ms = self._producer.create_batch(), time.time_ns() // 1_000_000
        for key, value in records:
            if batch.append(timestamp=now_ms, key=key, value=value) is None:
                raise ValueError(f"{len(records)} records do not fit one batch")
        batch.close()
        await (await self._producer.send_batch(batch, TOPIC, partition=partition))


class Librdkafka:
    """confluent-kafka: `produce` per record, then `flush`."""

    def __init__(self, bootstrap: str, records: Sequence[Pair]) -> None:
        confluent: Any = importlib.import_module("confluent_kafka")
        self._records = records
        self._producer = confluent.Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "acks": "all",
                "partitioner": "murmur2_random",
                "batch.size": BATCH_BYTES,
                "queue.buffering.max.messages": 1_000_000,
            }
        )

    async def write(self) -> None:
        produce = self._producer.produce
        for key, value in self._records:
            produce(TOPIC, value, key)
        left = self._producer.flush(30)
        if left:
            raise ValueError(f"{left} records were not acknowledged within 30 s")


class FastStream:
    """FastStream as its documentation shows it: `publish` per record, side by side."""

    def __init__(self, broker: Any, records: Sequence[Pair]) -> None:
        self._broker = broker
        self._records = records

    @classmethod
    async def connected(cls, bootstrap: str, records: Sequence[Pair]) -> Self:
        """With the settings of the others."""
        broker = importlib.import_module("faststream.kafka").KafkaBroker(
            bootstrap, acks="all", enable_idempotence=True, max_batch_size=BATCH_BYTES, logger=None
        )
        await broker.connect()
        return cls(broker, records)

    async def write(self) -> None:
        publish = self._broker.publish
        await asyncio.gather(*(publish(value, TOPIC, key=key) for key, value in self._records))


def installed(module: str) -> bool:
    """Whether it can be imported."""
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


async def main() -> None:
    """Write when told to, until the parent closes the pipe."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kafka")
    parser.add_argument("records", type=Path, help="a JSON list of [key, value]")
    asked = parser.parse_args()
    records = [(key.encode(), value.encode()) for key, value in orjson.loads(asked.records.read_bytes())]
    producer = AIOKafkaProducer(
        bootstrap_servers=asked.kafka, acks="all", enable_idempotence=True, max_batch_size=BATCH_BYTES
    )
    await producer.start()
    ways: dict[str, Send | SendBatch | Librdkafka | FastStream] = {
        "send": Send(producer, records),
        "send_batch": SendBatch(producer, records),
    }
    if installed("confluent_kafka"):
        ways["librdkafka"] = Librdkafka(asked.kafka, records)
    if installed("faststream.kafka"):
        ways["faststream"] = await FastStream.connected(asked.kafka, records)
    say({"ways": list(ways)})
    async for name in commands():
        begun = time.perf_counter_ns()
        await ways[name].write()
        say({"ms": (time.perf_counter_ns() - begun) / 1e6})
    await producer.stop()


if __name__ == "__main__":
    run(main())
