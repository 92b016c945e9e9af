"""The producer of the memory bus: a rebuild drops what it still holds; nobody takes back what it has sent."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from messaging.backoff import Backoff
from messaging.memory.log import MemoryLog, PartitionLog
from messaging.memory.process import Process
from messaging.ports import ProducerHealth, Record
from messaging.sizes import fitting
from models.errors import AppendNotSent, AppendUnknown


class MemoryProducer:
    """Batches of one partition leave in the order of their appends, as from a Kafka producer.

    Owns one task per append until the batch has left the process; from then on the log carries it.
    """

    def __init__(self, log: MemoryLog, process: Process, name: str) -> None:
        self._log = log
        self._process = process
        self._name = name
        self._held: dict[asyncio.Task[int], float] = {}
        self._turns: defaultdict[PartitionLog, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._backoff = Backoff()
        self._unknown = 0
        self._rebuilds = 0
        self._closed = False

    async def append(self, topic: str, partition: int, records: Sequence[Record], *, timeout_s: float) -> int:
        place = f"{topic}[{partition}]"
        log = self._log.partition(topic, partition)
        if self._closed or not records or self.fits(records) < len(records):
            raise AppendNotSent(f"append to {place}: no records, too many, or the producer is closed")
        await self._process.step(f"append {place}")
        base = await self._settled(self._send(log, tuple(records)), place, timeout_s)
        await self._process.step(f"acked {place}")
        self._backoff.reset()
        return base

    @property
    def batch_bytes(self) -> int:
        return self._log.max_batch_bytes

    def fits(self, records: Sequence[Record]) -> int:
        return fitting(records, self._log.max_batch_bytes)

    async def rebuild(self) -> None:
        await self._process.step(f"rebuild {self._name}")
        self._drop()
        self._rebuilds += 1
        await asyncio.sleep(self._backoff.next_s())
        await self._process.turn()

    async def close(self) -> None:
        self._closed = True
        self._drop()

    def health(self) -> ProducerHealth:
        now = asyncio.get_running_loop().time()
        oldest = max((now - since for since in self._held.values()), default=0.0)
        return ProducerHealth(oldest_pending_s=oldest, unknown=self._unknown, rebuilds=self._rebuilds)

    async def _settled(self, sending: asyncio.Task[int], place: str, timeout_s: float) -> int:
        """The base offset. The sending goes on by itself after a timeout, as in a real producer."""
        await asyncio.wait([sending], timeout=timeout_s)
        await self._process.turn()
        if sending.done() and not sending.cancelled():
            return sending.result()
        self._unknown += 1
        raise AppendUnknown(f"append to {place} was not acknowledged in {timeout_s} s, or before a rebuild")

    def _send(self, log: PartitionLog, records: tuple[Record, ...]) -> asyncio.Task[int]:
        sending = asyncio.create_task(self._deliver(log, records))
        self._held[sending] = asyncio.get_running_loop().time()
        sending.add_done_callback(self._forget)
        return sending

    async def _deliver(self, log: PartitionLog, records: tuple[Record, ...]) -> int:
        async with self._turns[log]:
            await self._log.connection(self._process)
            return await self._log.carry(self._process, log, records)

    def _forget(self, sending: asyncio.Task[int]) -> None:
        self._held.pop(sending, None)
        if not sending.cancelled():
            sending.exception()

    def _drop(self) -> None:
        for sending in list(self._held):
            sending.cancel()
        self._held.clear()
        self._turns.clear()
