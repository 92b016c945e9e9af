"""Checkpoints of folds in `user.signal_state`, so that a restore reads seconds of the log and not days, and
beside them the sequence marks that readers start a backfill from.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Final, NoReturn

from deployments.fanout.marks import Marks
from messaging.ports import EventBus, Producer, Record
from messaging.topics import SIGNAL_STATE
from models.errors import AppendRefused, AppendUnknown, MessagingError
from models.events import CHECKPOINT_KEY, Checkpoint
from signals.encoding import encode


class CheckpointWriter:
    """Writes the newest checkpoint offered of every partition, one append at a time, with its own producer:
    a checkpoint is worth no delay of a signal. The partition's marks go before it, so that a restore finds
    the checkpoint last.

    A checkpoint is a fold that can never become untrue, only old; so one that is lost or late does no harm.
    """

    def __init__(self, bus: EventBus, *, name: str, rng: Random, timeout_s: float, retry_s: float) -> None:
        self._bus = bus
        self._name = name
        self._rng = rng
        self._timeout_s = timeout_s
        self._retry_s = retry_s
        self._offered: dict[int, Checkpoint] = {}
        self._any = asyncio.Event()
        self.marks: Final = Marks()
        self.written = 0
        self.marked = 0
        self.failed = 0

    def offer(self, partition: int, checkpoint: Checkpoint) -> None:
        """Write it soon, in place of an older one that was not yet written."""
        self._offered[partition] = checkpoint
        self._any.set()

    async def run(self) -> NoReturn:
        """Write what is offered, until cancelled."""
        producer = await self._bus.producer(f"{self._name}-checkpoints")
        try:
            while True:
                await self._any.wait()
                self._any.clear()
                while self._offered:
                    partition = next(iter(self._offered))
                    await self._write(producer, partition)
        finally:
            await producer.close()

    async def _write(self, producer: Producer, partition: int) -> None:
        while marks := self.marks.take(partition):
            if not await self._append(producer, partition, marks):
                break
            self.marked += len(marks)
        checkpoint = Record(CHECKPOINT_KEY, encode(self._offered.pop(partition)))
        self.written += await self._append(producer, partition, [checkpoint])

    async def _append(self, producer: Producer, partition: int, records: list[Record]) -> bool:
        """Whether it is in the log for sure; if not, it is given up."""
        try:
            await producer.append(SIGNAL_STATE.name, partition, records, timeout_s=self._timeout_s)
        except (AppendRefused, AppendUnknown):
            self.failed += 1
            await self._rebuild(producer)
            return False
        return True

    async def _rebuild(self, producer: Producer) -> None:
        while True:
            try:
                return await producer.rebuild()
            except MessagingError:
                await asyncio.sleep(self._retry_s * (0.5 + self._rng.random()))
