"""Measures how many replicas of each pool the error gate keeps out of the choice, as this process sees it.

Ejections end by the clock, so no event would tell: the table is looked at once a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from models.metrics import Meter
from routing.load import LoadTable

_EVERY_S: Final = 1.0


async def measure_ejections(
    load: LoadTable, pools: Sequence[str], *, clock: Callable[[], int], meter: Meter
) -> NoReturn:
    """Set the gauge of every pool, for ever."""
    while True:
        for pool in pools:
            meter.gauge("hub_ejected_replicas", {"pool": pool}, ejected(load, pool, clock()))
        await asyncio.sleep(_EVERY_S)


def ejected(load: LoadTable, pool: str, now_ns: int) -> int:
    """How many replicas of the pool are out of the choice now."""
    snapshot = load.snapshot(now_ns)
    out = {
        snapshot.placement.replicas[number]
        for number, ejection in snapshot.ejections.items()
        if now_ns < ejection.until_ns
    }
    return len(out.intersection(load.replicas(pool)))
