"""What a reader that starts in the middle of a claimed partition must know of what came before."""

from __future__ import annotations

from typing import Final

from messaging.claims import EpochFilter
from messaging.ports import EventBus
from models.events import CLAIM_KEY

_STEP: Final = 256


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


async def claims_between(bus: EventBus, topic: str, partition: int, *, start: int, stop: int) -> list[int]:
    """Offsets of the claims in [start, stop)."""
    found: list[int] = []
    async for records in bus.read(topic, partition, start, stop):
        found += [record.offset for record in records if record.key == CLAIM_KEY]
    return found
