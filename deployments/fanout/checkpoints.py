"""Checkpoints of folds in `user.signal_state`, so that a restore reads seconds of the log and not days."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Final, NoReturn

from pydantic import ValidationError

from messaging.ports import EventBus, LogRecord, Producer, Record
from messaging.topics import SIGNAL_STATE
from models.errors import AppendRefused, AppendUnknown, MessagingError
from models.events import CHECKPOINT_KEY, Checkpoint
from signals.encoding import encode

_STEP: Final = 16


class CheckpointWriter:
    """Writes the newest checkpoint offered of every partition, one append at a time, with its own producer:
    a checkpoint is worth no delay of a signal.

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
        self.written = 0
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
                    await self._write(producer, partition, self._offered.pop(partition))
        finally:
            await producer.close()

    async def _write(self, producer: Producer, partition: int, checkpoint: Checkpoint) -> None:
        record = Record(CHECKPOINT_KEY, encode(checkpoint))
        try:
            await producer.append(SIGNAL_STATE.name, partition, [record], timeout_s=self._timeout_s)
            self.written += 1
        except (AppendRefused, AppendUnknown):
            self.failed += 1
            await self._rebuild(producer)

    async def _rebuild(self, producer: Producer) -> None:
        while True:
            try:
                return await producer.rebuild()
            except MessagingError:
                await asyncio.sleep(self._retry_s * (0.5 + self._rng.random()))


async def latest_checkpoint(bus: EventBus, partition: int, *, before: int) -> Checkpoint | None:
    """The checkpoint furthest on in the partition that does not reach beyond offset `before`.

    Late ones of a frozen owner may lie behind newer ones, so the last few are looked at, not the last one.
    """
    first, stop = await bus.bounds(SIGNAL_STATE.name, partition)
    step = _STEP
    while stop > first:
        start = max(first, stop - step)
        found = [
            checkpoint
            async for records in bus.read(SIGNAL_STATE.name, partition, start, stop)
            for record in records
            if (checkpoint := _decoded(record)) and checkpoint.position <= before
        ]
        if found:
            return max(found, key=lambda checkpoint: checkpoint.position)
        stop, step = start, step * 4
    return None


def _decoded(record: LogRecord) -> Checkpoint | None:
    if record.key != CHECKPOINT_KEY or record.value is None:
        return None
    try:
        return Checkpoint.from_record(record.value)
    except ValidationError:
        return None
