"""What one that starts in the middle of a claimed partition must know of what came before."""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError

from messaging.claims import EpochFilter
from messaging.ports import EventBus, LogRecord
from messaging.topics import SIGNAL_STATE, SIGNALS
from models.events import CHECKPOINT_KEY, CLAIM_KEY, Checkpoint

_STEP: Final = 256
_CHECKPOINT_STEP: Final = 16
"""A writer puts a checkpoint after its marks."""


async def epochs_at(bus: EventBus, topic: str, partition: int, start: int) -> EpochFilter:
    """An epoch filter that knows the last claim before `start`.

    Looks backwards in steps that grow, to the first record kept. A claim that retention has removed is not
    known: then every record read is taken to be of its owner, which had that claim for the whole retention.
    """
    first, _ = await bus.bounds(topic, partition)
    stop, step = start, _STEP
    while stop > first:
        begin = max(first, stop - step)
        if claims := await claims_between(bus, topic, partition, start=begin, stop=stop):
            return EpochFilter(claims)
        stop, step = begin, step * 4
    return EpochFilter()


async def epochs_near_end(bus: EventBus, partition: int, start: int) -> EpochFilter:
    """The same for `user.signals` and a start near its end: from the last checkpoint and what lies behind it,
    so that little is read however long ago the last claim was.
    """
    checkpoint = await latest_checkpoint(bus, partition)
    if checkpoint is None:
        return await epochs_at(bus, SIGNALS.name, partition, start)
    first, _ = await bus.bounds(SIGNALS.name, partition)
    begin = max(first, checkpoint.position)
    later = await claims_between(bus, SIGNALS.name, partition, start=begin, stop=start)
    return EpochFilter((*checkpoint.claims, *later))


async def latest_checkpoint(bus: EventBus, partition: int, *, before: int | None = None) -> Checkpoint | None:
    """The checkpoint furthest on in the partition that does not reach beyond offset `before` of it.

    Late ones of a frozen owner may lie behind newer ones, and marks between them, so the last few records are
    looked at, and then more and more of those before.
    """
    first, stop = await bus.bounds(SIGNAL_STATE.name, partition)
    step = _CHECKPOINT_STEP
    while stop > first:
        start = max(first, stop - step)
        found = [
            checkpoint
            async for records in bus.read(SIGNAL_STATE.name, partition, start, stop)
            for record in records
            if (checkpoint := _checkpoint(record)) and (before is None or checkpoint.position <= before)
        ]
        if found:
            return max(found, key=lambda checkpoint: checkpoint.position)
        stop, step = start, step * 4
    return None


def _checkpoint(record: LogRecord) -> Checkpoint | None:
    if record.key != CHECKPOINT_KEY or record.value is None:
        return None
    try:
        return Checkpoint.from_record(record.value)
    except ValidationError:
        return None


async def claims_between(bus: EventBus, topic: str, partition: int, *, start: int, stop: int) -> list[int]:
    """Offsets of the claims in [start, stop)."""
    found: list[int] = []
    async for records in bus.read(topic, partition, start, stop):
        found += [record.offset for record in records if record.key == CLAIM_KEY]
    return found
