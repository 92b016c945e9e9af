"""What a reader that starts in the middle of a claimed partition must know of what came before."""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError

from messaging.claims import EpochFilter
from messaging.ports import EventBus, LogRecord
from messaging.topics import SIGNAL_STATE, SIGNALS
from models.events import CHECKPOINT_KEY, CLAIM_KEY, Checkpoint

_STEP: Final = 256
_LAST: Final = 32
"""Records of `user.signal_state` in which a checkpoint is looked for: a writer puts one after its marks."""


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
    checkpoint = await _last_checkpoint(bus, partition)
    if checkpoint is None:
        return await epochs_at(bus, SIGNALS.name, partition, start)
    first, _ = await bus.bounds(SIGNALS.name, partition)
    begin = max(first, checkpoint.position)
    later = await claims_between(bus, SIGNALS.name, partition, start=begin, stop=start)
    return EpochFilter((*checkpoint.claims, *later))


async def _last_checkpoint(bus: EventBus, partition: int) -> Checkpoint | None:
    """The one furthest on among the last records of `user.signal_state`."""
    first, stop = await bus.bounds(SIGNAL_STATE.name, partition)
    newest: Checkpoint | None = None
    async for records in bus.read(SIGNAL_STATE.name, partition, max(first, stop - _LAST), stop):
        for record in records:
            found = _checkpoint(record)
            if found and (newest is None or found.position > newest.position):
                newest = found
    return newest


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
