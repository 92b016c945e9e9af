"""Models inside the caller: how they stand in the load table, and how a call for one of them runs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Final

import numpy as np
import pytest

from deployments.router.config import LocalConfig
from deployments.router.local_pool import LocalPool
from deployments.router.names import LOCAL_POOL
from deployments.router.opening import assemble
from deployments.router.replies import Refusal, Reply
from deployments.router.routed_pools import RoutedPools
from models.decision import Execution
from models.errors import ConfigError, DeadlineExpired, TicketRefused
from models.forecast import InferCall, InferReply
from models.metrics import MemoryMeter
from models.task import CONTEXT_FEATURES, WINDOW
from routing.catalogue import Catalogue
from routing.engine import Engine
from routing.load import LoadTable, ReplicaMeta
from routing.profiles import load_profiles
from tests.support.cards import a_card
from tests.unit.execution.doubles import Clock, GatedModel, a_call, a_ticket
from tests.unit.router.test_outbox import FakePools
from tests.unit.router.test_routed_client import PROFILES, FixedCatalogue, Hub, ScriptedPools

REPOSITORY: Final = Path(__file__).parents[3] / "model_repository"
QUICK_MS, SLOW_MS = 0.1, 0.8


def a_model(name: str, warm_ms: float) -> GatedModel:
    """A model whose card promises this time for any number of rows."""
    return GatedModel(a_card(name, warm_ms=warm_ms))


class NotingModel(GatedModel):
    """Notes the thread it ran on."""

    thread: threading.Thread | None = None

    def run(self, *tensors: np.ndarray, level: float) -> list:  # type: ignore[type-arg]
        self.thread = threading.current_thread()
        return super().run(*tensors, level=level)


@pytest.fixture
def load() -> LoadTable:
    """What the process believes."""
    return LoadTable()


@pytest.fixture
def clock() -> Clock:
    """Time as the pool sees it."""
    return Clock()


@pytest.fixture
def pool(load: LoadTable, clock: Clock) -> Iterator[LocalPool]:
    """A pool that holds no model yet."""
    config = LocalConfig(repository=str(REPOSITORY), inline_ms=0.5)
    pool = LocalPool(config, load, clock=clock, rng=Random(1), meter=MemoryMeter())
    yield pool
    pool.close()


async def ask(pool: LocalPool, load: LoadTable, call: InferCall) -> Reply:
    """The reply to a call for the local replica."""
    [replica] = load.replicas(LOCAL_POOL)
    return await pool.send(call, a_ticket(replica)).reply()


async def test_stands_in_the_load_table_like_a_replica(pool: LocalPool, load: LoadTable) -> None:
    """Once its models are loaded, and no longer than until it is closed."""
    assert (pool.ready, load.replicas(LOCAL_POOL)) == (False, ())

    pool.hold([a_model("quick", QUICK_MS)])

    [replica] = load.replicas(LOCAL_POOL)
    assert replica.startswith("local-")
    assert pool.ready
    pool.close()
    assert load.replicas(LOCAL_POOL) == ()


async def test_a_quick_model_runs_on_the_loop(pool: LocalPool, load: LoadTable) -> None:
    """No thread is asked for what takes less time than asking."""
    model = NotingModel(a_card("quick", warm_ms=QUICK_MS))
    pool.hold([model])

    reply = await ask(pool, load, a_call("quick@1", first=0.5))

    assert isinstance(reply, InferReply)
    assert [forecast.q50 for forecast in reply.forecasts] == [0.5]
    assert model.thread is threading.current_thread()
    assert reply.load.replica == load.replicas(LOCAL_POOL)[0]


async def test_a_slower_model_does_not_hold_up_the_loop(pool: LocalPool, load: LoadTable) -> None:
    """It runs on a thread, and others are served meanwhile."""
    model = a_model("slow", SLOW_MS)
    pool.hold([model])
    model.gate.clear()
    call = asyncio.create_task(ask(pool, load, a_call("slow@1")))

    await asyncio.sleep(0.01)
    assert not call.done()
    model.gate.set()

    assert isinstance(await call, InferReply)


async def test_quick_calls_in_a_row_let_others_have_the_loop(pool: LocalPool, load: LoadTable) -> None:
    """A caller that never waits is made to, so that timers and sockets are served in between."""
    model = a_model("quick", QUICK_MS)
    pool.hold([model])
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            others += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    begun = time.perf_counter()
    while time.perf_counter() - begun < 0.2:
        await ask(pool, load, a_call("quick@1", rows=8))
    beside.cancel()

    assert others > 2


async def test_refuses_as_a_replica_does(pool: LocalPool, load: LoadTable, clock: Clock) -> None:
    """Expired work and foreign tickets are refused with a report, whichever way the model runs."""
    models = [a_model("quick", QUICK_MS), a_model("slow", SLOW_MS)]
    pool.hold([*models])

    for name in ("quick@1", "slow@1"):
        late = await ask(pool, load, a_call(name, within_s=-1))
        foreign = await pool.send(a_call(name), a_ticket("r9")).reply()

        assert isinstance(late, Refusal)
        assert isinstance(late.error, DeadlineExpired)
        assert isinstance(foreign, Refusal)
        assert isinstance(foreign.error, TicketRefused)
    assert [model.runs for model in models] == [0, 0]


def test_refuses_before_its_models_are_loaded(pool: LocalPool) -> None:
    """A ticket to a pool that is not there yet is refused, so that the caller decides again."""
    with pytest.raises(TicketRefused, match="not loaded"):
        pool.send(a_call(), a_ticket("local-x"))


async def test_loads_the_quick_models_of_a_repository(pool: LocalPool, load: LoadTable) -> None:
    """The rule picks by the cards' warm profile; what it picked answers with real forecasts."""
    await pool.open()

    placement = load.snapshot(time.time_ns()).placement
    held = {name.partition("@")[0] for meta in placement.metas for name in meta.models}
    assert {"naive", "mlp"} <= held
    assert "gru-reservoir" not in held
    window = np.random.default_rng(1).normal(0, 5e-5, (2, WINDOW)).astype(np.float32)
    context = np.zeros((2, len(CONTEXT_FEATURES)), np.float32)
    reply = await ask(pool, load, replace(a_call("naive@1"), window=window, context=context))
    assert isinstance(reply, InferReply)
    assert all(one.q05 < one.q50 < one.q95 for one in reply.forecasts)


async def test_a_named_model_that_is_not_there_is_an_error(load: LoadTable, clock: Clock) -> None:
    """The error names the setting."""
    config = LocalConfig(repository=str(REPOSITORY), models=("unheard",))
    pool = LocalPool(config, load, clock=clock, rng=Random(1), meter=MemoryMeter())

    with pytest.raises(ConfigError, match="unheard") as caught:
        await pool.open()

    assert caught.value.field == "models"


async def test_where_no_model_is_quick_enough_nobody_is_sent_here(load: LoadTable, clock: Clock) -> None:
    """The rule may pick nothing: the pool is ready, and empty."""
    config = LocalConfig(repository=str(REPOSITORY), max_ms=1e-6)
    pool = LocalPool(config, load, clock=clock, rng=Random(1), meter=MemoryMeter())

    await pool.open()

    assert pool.ready
    assert load.replicas(LOCAL_POOL) == ()


async def test_a_call_goes_where_its_ticket_says(pool: LocalPool, load: LoadTable) -> None:
    """Tickets of pool `local` stay here, all others go out."""
    pool.hold([a_model("quick", QUICK_MS)])
    remote = FakePools()
    pools = RoutedPools(remote, pool)
    ticket = a_ticket(load.replicas(LOCAL_POOL)[0])

    here = await pools.send(a_call("quick@1"), ticket.model_copy(update={"pool": LOCAL_POOL})).reply()
    pools.send(a_call("quick@1", first=3.0), ticket)

    assert isinstance(here, InferReply)
    assert remote.left == [[3.0]]


@pytest.mark.parametrize(
    ("remote", "held", "ready"), [(True, True, True), (False, True, False), (True, False, False)]
)
async def test_is_ready_with_both(pool: LocalPool, *, remote: bool, held: bool, ready: bool) -> None:
    """Neither half of the candidates is left out at the start."""
    if held:
        pool.hold([a_model("quick", QUICK_MS)])

    assert RoutedPools(FakePools(ready=remote), pool).ready is ready
    assert RoutedPools(FakePools(ready=remote), None).ready is remote


async def test_the_engine_chooses_between_here_and_there(pool: LocalPool, load: LoadTable) -> None:
    """With the hop counted a small model answers here; one that is only held there is still asked there."""
    cards = [a_card("quick", warm_ms=QUICK_MS), a_card("heavy", warm_ms=8.0)]
    there = ReplicaMeta("pool", "cpu", 2, {str(card.key): list(card.warm) for card in cards})
    load.replicas_updated("pool", [("r1", there)], now_ns=time.time_ns())
    pool.hold([GatedModel(cards[0])])
    remote = ScriptedPools()
    client = assemble(
        engine=Engine(load_profiles(PROFILES.read_text(encoding="utf-8"))),
        pools=RoutedPools(remote, pool),
        source=FixedCatalogue(Catalogue.of(cards, version=1)),
        load=load,
        clock=time.time_ns,
        rng=Random(1),
        meter=MemoryMeter(),
    )
    hub = Hub(client, remote, load, MemoryMeter())

    here, away = await hub.infer(model="quick"), await hub.infer(model="heavy")

    assert (here.decision.execution, here.decision.pool) == (Execution.LOCAL, LOCAL_POOL)
    assert (away.decision.execution, remote.tried) == (Execution.REMOTE, ["r1"])
    assert hub.in_flight() == 0
