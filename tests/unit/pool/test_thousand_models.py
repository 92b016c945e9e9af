"""A thousand registered models on four replicas with room for a part of them, and a router before them."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from random import Random
from time import time_ns

import pytest

from deployments.pool.placement import Part, Seat, part_of
from models.card import ModelStatus
from models.errors import NothingFeasible
from models.request import Requirements
from models.task import DataSize
from routing.catalogue import Catalogue
from routing.engine import Engine
from routing.load import LoadTable
from tests.support.eventually import eventually
from tests.unit.execution.doubles import a_call
from tests.unit.pool.replicas import MODEL_BYTES, Library, Replica, a_log, registered, running
from tests.unit.routing.worlds import the_profiles

REPLICAS, COPIES, ROOM = 4, 2, 200
EVENTS = [registered(f"m{number}") for number in range(1000)]
LIVE = registered("live", ModelStatus.LIVE)
LOAD_MS = 100.0


@pytest.fixture
async def pool() -> AsyncIterator[list[Replica]]:
    """The four, once they have looked at everything."""
    library, log = Library(load_ms=LOAD_MS), a_log([*EVENTS, LIVE])
    async with AsyncExitStack() as stack:
        replicas = [
            await stack.enter_async_context(
                running(library, log, part=_part(rank), most_bytes=ROOM * MODEL_BYTES)
            )
            for rank in range(REPLICAS)
        ]
        await eventually(lambda: sum(len(one.offers()) for one in replicas) == 1000 * COPIES + REPLICAS, 60)
        yield replicas


def _part(rank: int) -> Part:
    return part_of(lambda: Seat(rank, REPLICAS), copies=COPIES, most_copies=COPIES)


def decide(pool: list[Replica], model: str, *, within_ms: float) -> str:
    """The replica that a router would send a call to."""
    table, now_ns = LoadTable(), time_ns()
    table.replicas_updated(
        "left", [(str(number), one.meta()) for number, one in enumerate(pool)], now_ns=now_ns
    )
    wanted = Requirements(
        task="time_series_forecast",
        rows=1,
        data_size=DataSize.SMALL,
        deadline_ns=now_ns + int(within_ms * 1e6),
        model=model,
    )
    catalogue = Catalogue.of([event.card for event in EVENTS], version=1)
    engine = Engine(the_profiles())
    return engine.decide(wanted, catalogue, table.snapshot(now_ns), now_ns=now_ns, rng=Random(1)).replica


async def test_every_model_is_offered_and_answered_within_the_bound(pool: list[Replica]) -> None:
    """By as many replicas as there are to be copies, from no more memory than was given."""
    offered = Counter(name for replica in pool for name in replica.offers())
    assert offered == {str(event.card.key): COPIES for event in EVENTS} | {"live@1": REPLICAS}

    for replica in pool:
        assert len(replica.holds()) == ROOM
        assert "live@1" in replica.holds()
    for replica in pool:
        for name in sorted(replica.shelf.cold())[:50]:
            assert (await replica.answer(a_call(name))).load.load_ms > 0.0
            assert name in replica.holds()
            assert len(replica.holds()) == ROOM
        assert "live@1" in replica.holds()


async def test_a_router_goes_where_the_model_is_loaded_or_where_there_is_time_to_load_it(
    pool: list[Replica],
) -> None:
    """Nowhere, if there is neither."""
    holders = {name: [one for one in pool if name in one.offers()] for name in pool[0].shelf.cold()}
    nowhere = next(name for name, ones in holders.items() if all(name in one.shelf.cold() for one in ones))

    with pytest.raises(NothingFeasible):
        decide(pool, nowhere, within_ms=LOAD_MS / 2)
    chosen = pool[int(decide(pool, nowhere, within_ms=20 * LOAD_MS))]
    assert chosen in holders[nowhere]
    await chosen.answer(a_call(nowhere))
    assert pool[int(decide(pool, nowhere, within_ms=LOAD_MS / 2))] is chosen
