"""What a new owner of a partition of `hub.predictions` reads first: the last bar close of each series."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from messaging.history import epochs_at
from messaging.ports import EventBus
from messaging.topics import PREDICTIONS
from signals.reader import PredictionRules, Series


async def last_closes(
    bus: EventBus,
    partition: int,
    *,
    stop: int,
    wanted: Collection[Series],
    now_ms: int,
    reach_s: Sequence[int],
) -> dict[Series, int]:
    """Fold the partition up to `stop`, from `reach_s[0]` seconds ago; further back, by the next reach and in
    the end from the beginning, only as long as some series is not found.
    """
    first, _ = await bus.bounds(PREDICTIONS.name, partition)
    for seconds in reach_s:
        start = await bus.offset_at(PREDICTIONS.name, partition, now_ms - seconds * 1000)
        closes = await _fold(bus, partition, start=start, stop=stop)
        if start <= first or closes.keys() >= set(wanted):
            return closes
    return await _fold(bus, partition, start=first, stop=stop)


async def _fold(bus: EventBus, partition: int, *, start: int, stop: int) -> dict[Series, int]:
    rules = PredictionRules(await epochs_at(bus, PREDICTIONS.name, partition, start))
    async for records in bus.read(PREDICTIONS.name, partition, start, stop):
        for record in records:
            rules.take(record.offset, record.key, record.value)
    return rules.series
