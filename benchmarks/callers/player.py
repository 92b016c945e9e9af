"""A Serve deployment that plays calls which were drawn beforehand, and tells what became of each.

Open loop: a call is made when it is due, whatever became of the earlier ones, and both its time and its
deadline count from when it was due. `routed` goes by the shipped client, `bare` by the handle alone, where
Ray's own router chooses.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from contextvars import ContextVar
from functools import partial
from math import nan
from random import Random
from typing import Any, Final, NamedTuple

from ray import serve
from ray.serve import Application

from benchmarks.callers.parts import BareCalls, Cards, in_ns, opened
from deployments.router import load_table
from deployments.router.config import RouterConfig
from deployments.router.late_meter import LateMeter
from deployments.router.meter import RayMeter
from deployments.router.names import pool_app
from deployments.router.opening import assemble
from deployments.router.outbox import Outbox
from models.base import Frozen
from models.decision import Decision
from models.errors import HubError
from models.request import Priority, Requirements
from models.task import TIME_SERIES_FORECAST, DataSize
from routing.engine import Engine
from routing.load import LoadConfig, LoadTable
from routing.profiles import load_profiles
from routing.protection.budget import BudgetConfig
from routing.protection.hedging import HedgeConfig

OK: Final = "ok"
_BY_REFERENCE_FROM: Final = RouterConfig(pools=(), profiles="").by_reference_from_bytes
_NO_HEDGES: Final = HedgeConfig(budget=BudgetConfig(share=0.0))
_FIRST: ContextVar[list[Decision]] = ContextVar("first")
"""Where the call that is played puts the first decision made for it."""


class Due(NamedTuple):
    """One call: when it is due, from the start of the run, and how long it may take from then."""

    at_s: float
    budget_ms: float
    priority: Priority = Priority.CRITICAL


class Played(NamedTuple):
    """What became of a call. `outcome` is `OK` or the code of the error, `late_ms` how late it was made.

    Promises are those of the first decision, and `nan` if there was none; `hedged` says whether a second call
    was out when the answer came.
    """

    due: Due
    outcome: str
    elapsed_ms: float
    late_ms: float
    expected_ms: float = nan
    p_meet: float = nan
    replica: str = ""
    hedged: bool = False

    @property
    def met(self) -> bool:
        """Whether it was answered before its deadline."""
        return self.outcome == OK and self.elapsed_ms <= self.due.budget_ms


class PlayerConfig(Frozen):
    """Which pool and model is called, with how many rows a call; `load` says what the client believes."""

    pool: str
    repository: str
    model: str
    rows: int
    profiles: str
    profile: str
    load: LoadConfig = LoadConfig()


class Noting(Engine):
    """The shipped engine, which also leaves each first decision with the call it was made for."""

    def decide(self, *arguments: Any, attempt: int = 1, **named: Any) -> Decision:
        decision = super().decide(*arguments, attempt=attempt, **named)
        if attempt == 1:
            _FIRST.get().append(decision)
        return decision


class Player:
    """Holds a routed client and a bare handle to the same pool."""

    async def __init__(self, config: PlayerConfig) -> None:  # type: ignore[misc]  # Serve awaits it
        self._config, rng = config, Random(config.pool)
        pools = await opened(config.pool, load_table.TABLE, by_reference_from=_BY_REFERENCE_FROM)
        client = partial(
            assemble,
            engine=Noting(load_profiles(config.profiles)),
            pools=Outbox(pools, most_bytes=_BY_REFERENCE_FROM),
            source=Cards.of(config.repository, config.model),
            load=_table(config),
            clock=time.time_ns,
            rng=rng,
            meter=LateMeter(RayMeter()),
        )
        self._hedging, self._single = client(), client(hedges=_NO_HEDGES)
        self._client = self._hedging
        name = pool_app(config.pool)
        handle: Any = serve.get_deployment_handle(name, name)
        by_value = handle.options(method_name="infer", _by_reference=False)
        self._calls = BareCalls(by_value, rng, rows=config.rows)

    async def play(self, way: str, dues: Sequence[Due]) -> list[Played]:
        """Make the calls, each when it is due."""
        begun_s, playing = time.perf_counter(), []
        for due in dues:
            await asyncio.sleep(begun_s + due.at_s - time.perf_counter())
            playing.append(asyncio.create_task(self._played(way, due, begun_s + due.at_s)))
        return await asyncio.gather(*playing)

    async def busy(self, *, callers: int, seconds: float, budget_ms: float) -> list[Played]:
        """So many callers of the client, each of which calls again as soon as it is answered."""
        end_s, played = time.perf_counter() + seconds, []

        async def caller() -> None:
            while (now_s := time.perf_counter()) < end_s:
                played.append(await self._played("routed", Due(0.0, budget_ms), now_s))

        await asyncio.gather(*(asyncio.create_task(caller()) for _ in range(callers)))
        return played

    async def hedging(self, *, allowed: bool) -> None:
        """Make second calls beside late ones from now on, or none."""
        self._client = self._hedging if allowed else self._single

    async def _played(self, way: str, due: Due, due_s: float) -> Played:
        late_ms, outcome, hedged = (time.perf_counter() - due_s) * 1e3, OK, False
        decided: list[Decision] = []
        _FIRST.set(decided)
        try:
            hedged = await self._answered(way, due, in_ns((due.budget_ms - late_ms) / 1e3))
        except HubError as error:
            outcome = error.code
        told = Played(due, outcome, (time.perf_counter() - due_s) * 1e3, late_ms, hedged=hedged)
        return _with_promise(told, decided[0]) if decided else told

    def _answered(self, way: str, due: Due, deadline_ns: int) -> Awaitable[bool]:
        return self._bare(deadline_ns) if way == "bare" else self._routed(due.priority, deadline_ns)

    async def _routed(self, priority: Priority, deadline_ns: int) -> bool:
        wanted = Requirements(
            task=TIME_SERIES_FORECAST.name,
            rows=self._config.rows,
            data_size=DataSize.SMALL,
            deadline_ns=deadline_ns,
            profile=self._config.profile,
            model=self._config.model,
            priority=priority,
        )
        calls = self._calls
        return (await self._client.infer(wanted, calls.window, calls.context, traceparent="")).hedged

    async def _bare(self, deadline_ns: int) -> bool:
        await self._calls.infer(self._config.model, deadline_ns)
        return False


def _with_promise(told: Played, decision: Decision) -> Played:
    promise = decision.promise
    return told._replace(expected_ms=promise.expected_ms, p_meet=promise.p_meet, replica=decision.replica)


def _table(config: PlayerConfig) -> LoadTable:
    """Beliefs of these settings about the replicas that the process knows."""
    table, now_ns = LoadTable(config.load), time.time_ns()
    placement = load_table.TABLE.snapshot(now_ns).placement
    known = list(zip(placement.replicas, placement.metas, strict=True))
    table.replicas_updated(config.pool, known, now_ns=now_ns)
    return table


def build_player(config: PlayerConfig, name: str) -> Application:
    """The player's application."""
    options: dict[str, Any] = {"name": name, "ray_actor_options": {"num_cpus": 0.1}}
    return serve.deployment(**options)(Player).bind(config)
