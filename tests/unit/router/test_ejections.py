"""How many replicas are out of the choice, counted by pool and handed to the meter."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from deployments.router.ejections import ejected, measure_ejections
from models.metrics import MemoryMeter
from routing.load import LoadTable, ReplicaMeta

NOW_NS = 1_700_000_000_000_000_000
MINUTE_NS = 60 * 1_000_000_000


def _two_pools() -> LoadTable:
    load = LoadTable()
    for pool in ("left", "right"):
        members = [(f"{pool}-{n}", ReplicaMeta(pool, "cpu", 1, {})) for n in (1, 2)]
        load.replicas_updated(pool, members, now_ns=0)
    return load


def test_counts_the_pools_own_until_their_time_is_up() -> None:
    """A replica counts for its own pool, and only as long as it is out."""
    load = _two_pools()
    load.unreachable("left-2", now_ns=NOW_NS)
    assert (ejected(load, "left", NOW_NS), ejected(load, "right", NOW_NS)) == (1, 0)
    assert ejected(load, "left", NOW_NS + MINUTE_NS) == 0


async def test_every_pool_is_measured() -> None:
    """Pools with nothing ejected are measured too: a zero is news after an ejection."""
    load, meter = _two_pools(), MemoryMeter()
    load.unreachable("left-1", now_ns=NOW_NS)
    measuring = asyncio.create_task(
        measure_ejections(load, ("left", "right"), clock=lambda: NOW_NS, meter=meter)
    )
    await asyncio.sleep(0)
    measuring.cancel()
    with suppress(asyncio.CancelledError):
        await measuring
    assert meter.values == {
        ("hub_ejected_replicas", (("pool", "left"),)): 1,
        ("hub_ejected_replicas", (("pool", "right"),)): 0,
    }
