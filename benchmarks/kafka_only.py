"""The same records through Kafka alone: the peer of `tick_to_ack.py`, in a process of its own.

A recorded prediction is appended; a consumer reads it back and appends the recorded signals of its users, one
batch per partition; the clock stops when all are acknowledged. No tick, no inference, no projection, no
rendering. Told `run SECONDS`, it does so on a fixed schedule and answers with the time of every slot.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.child import commands, run, say

PREDICTIONS: Final = "benchmark.predictions"
SIGNALS: Final = "benchmark.signals"
_BATCH_BYTES: Final = 900_000
Pair = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A slot as the hub wrote it: the prediction, and per partition the signals."""

    prediction: Pair
    signals: dict[int, list[Pair]]

    @classmethod
    def of(cls, written: dict[str, Any]) -> Self:
        """From its JSON form."""
        key, value = written["prediction"]
        signals = {
            int(partition): [(one.encode(), other.encode()) for one, other in pairs]
            for partition, pairs in written["signals"].items()
        }
        return cls((key.encode(), value.encode()), signals)


class Pipeline:
    """One producer and one consumer on one loop."""

    def __init__(
        self, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, slots: Sequence[Recorded]
    ) -> None:
        self._producer = producer
        self._consumer = consumer
        self._slots = slots
        self._ticks_ns: list[int] = []
        self._times_ms: list[float] = []
        self._read = 0

    async def run(self, seconds: float, interval_s: float) -> list[float]:
        """Append a prediction every `interval_s`; per slot the milliseconds until all was acknowledged."""
        self._times_ms, wanted = [], int(seconds / interval_s)
        reading = asyncio.create_task(self._follow(wanted))
        begun = time.monotonic()
        for number in range(wanted):
            await asyncio.sleep(begun + number * interval_s - time.monotonic())
            self._ticks_ns.append(time.time_ns())
            key, value = self._slots[len(self._ticks_ns) % len(self._slots)].prediction
            await self._producer.send(PREDICTIONS, value, key=key, partition=0)
        await reading
        return self._times_ms

    async def _follow(self, wanted: int) -> None:
        appending: list[asyncio.Task[None]] = []
        while len(appending) < wanted:
            for records in (await self._consumer.getmany(timeout_ms=1000)).values():
                for _ in records:
                    appending.append(asyncio.create_task(self._append(self._read)))
                    self._read += 1
        await asyncio.gather(*appending)

    async def _append(self, number: int) -> None:
        recorded = self._slots[(number + 1) % len(self._slots)]
        await asyncio.gather(*(self._batch(*item) for item in recorded.signals.items()))
        self._times_ms.append((time.time_ns() - self._ticks_ns[number]) / 1e6)

    async def _batch(self, partition: int, pairs: Sequence[Pair]) -> None:
        batch, now_ms = self._producer.create_batch(), time.time_ns() // 1_000_000
        for key, value in pairs:
            batch.append(timestamp=now_ms, key=key, value=value)
        batch.close()
        await (await self._producer.send_batch(batch, SIGNALS, partition=partition))


async def main() -> None:
    """Run when told to, until the parent closes the pipe."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kafka")
    parser.add_argument("records", type=Path)
    parser.add_argument("interval_s", type=float)
    asked = parser.parse_args()
    slots = [Recorded.of(one) for one in orjson.loads(asked.records.read_bytes())]
    producer = AIOKafkaProducer(
        bootstrap_servers=asked.kafka, acks="all", enable_idempotence=True, max_batch_size=_BATCH_BYTES
    )
    consumer = AIOKafkaConsumer(
        bootstrap_servers=asked.kafka, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await producer.start()
    await consumer.start()
    consumer.assign([TopicPartition(PREDICTIONS, 0)])
    pipeline = Pipeline(producer, consumer, slots)
    say({"slots": len(slots)})
    async for command in commands():
        say({"times_ms": await pipeline.run(float(command.split()[1]), asked.interval_s)})
    await consumer.stop()
    await producer.stop()


if __name__ == "__main__":
    run(main())
