"""What a new owner of a partition of `hub.predictions` reads first: the last bar close of each series."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import aclosing
from typing import Any, cast

from pydantic import ValidationError

from messaging.claims import EpochFilter
from messaging.ports import EventBus, LogRecord
from messaging.topics import PREDICTIONS
from models.events import CLAIM_KEY, CONTROL_PREFIX
from signals.encoding import decode_owed
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
    closes: dict[Series, int] = {}
    for seconds in (*reach_s, None):
        start = await _start(bus, partition, stop, None if seconds is None else now_ms - seconds * 1000)
        closes = await _fold(bus, partition, start, stop)
        if closes.keys() >= set(wanted):
            break
    return closes


async def _fold(bus: EventBus, partition: int, start: int, stop: int) -> dict[Series, int]:
    rules = PredictionRules(EpochFilter())
    async for records in bus.read(PREDICTIONS.name, partition, start, stop):
        for record in records:
            rules.take(record.offset, record.key, record.value)
    return rules.series


async def _start(bus: EventBus, partition: int, stop: int, since_ms: int | None) -> int:
    """A claim at or before the first record since then: whatever is older than a claim that the reader has
    seen is void, so a fold that starts at a claim needs no claims from before.
    """
    first, _ = await bus.bounds(PREDICTIONS.name, partition)
    if since_ms is None:
        return first
    start = await bus.offset_at(PREDICTIONS.name, partition, since_ms)
    records = cast("Any", bus.read(PREDICTIONS.name, partition, min(start, stop - 1), stop))
    async with aclosing(records) as batches:
        async for batch in batches:
            epochs = [epoch for record in batch if (epoch := _epoch(record)) is not None]
            if epochs:
                return max(first, epochs[0])
    return first


def _epoch(record: LogRecord) -> int | None:
    """The claim a record stands under, itself if it is one; None if it does not say."""
    if record.key.startswith(CONTROL_PREFIX):
        return record.offset if record.key == CLAIM_KEY else None
    try:
        return min(record.offset, decode_owed(record.value or b"").epoch)
    except ValidationError:
        return None
