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
from dataclasses import dataclass
from math import nan
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

import numpy as np
from ray import serve
from ray.serve import Application

from deployments.router import load_table
from deployments.router.config import RouterConfig
from deployments.router.late_meter import LateMeter
from deployments.router.meter import RayMeter
from deployments.router.names import pool_app
from deployments.router.opening import assemble
from deployments.router.outbox import Outbox
from deployments.router.pools import ServePools
from deployments.router.replies import Refusal
from inference.cards import CARD_FILE, read_card
from models.base import Frozen
from models.decision import Decision
from models.errors import HubError
from models.forecast import InferCall
from models.ids import random_id
from models.request import Priority, Requirements
from models.task import CONTEXT_FEATURES, INTERVAL_LEVELS, TIME_SERIES_FORECAST, WINDOW, DataSize
from routing.catalogue import Catalogue
from routing.engine import Engine
from routing.load import LoadConfig, LoadTable
from routing.profiles import load_profiles
from routing.protection.budget import BudgetConfig
from routing.protection.hedging import HedgeConfig, HedgePolicy

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


@dataclass(frozen=True)
class _Card:
    """One model's card, without a registry."""

    catalogue: Catalogue
    complete: bool = True


class Player:
    """Holds a routed client and a bare handle to the same pool."""

    async def __init__(self, config: PlayerConfig) -> None:  # type: ignore[misc]  # Serve awaits it
        vars(load_table)["TABLE"] = table = LoadTable(
            config.load
        )  # before Serve says which replicas there are
        self._config, self._rng = config, Random(config.pool)
        pools = ServePools(
            (config.pool,),
            by_reference_from=_BY_REFERENCE_FROM,
            seen=lambda pool: bool(table.replicas(pool)),
        )
        await pools.open(seen_timeout_s=60.0)
        self._client = assemble(
            engine=Noting(load_profiles(config.profiles)),
            pools=Outbox(pools, most_bytes=_BY_REFERENCE_FROM),
            source=_Card(_catalogue(Path(config.repository), config.model)),
            load=table,
            clock=time.time_ns,
            rng=self._rng,
            meter=LateMeter(RayMeter()),
        )
        name = pool_app(config.pool)
        handle: Any = serve.get_deployment_handle(name, name)
        self._bare_infer = handle.options(method_name="infer", _by_reference=False)
        inputs = np.random.default_rng(0)
        self._window = inputs.normal(0, 5e-5, (config.rows, WINDOW)).astype(np.float32)
        self._context = np.zeros((config.rows, len(CONTEXT_FEATURES)), np.float32)

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
        self._client._answers._hedges = HedgePolicy(None if allowed else _NO_HEDGES)  # noqa: SLF001

    async def _played(self, way: str, due: Due, due_s: float) -> Played:
        late_ms, outcome, hedged = (time.perf_counter() - due_s) * 1e3, OK, False
        decided: list[Decision] = []
        _FIRST.set(decided)
        try:
            hedged = await self._answered(way, due, time.time_ns() + int((due.budget_ms - late_ms) * 1e6))
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
        return (await self._client.infer(wanted, self._window, self._context, traceparent="")).hedged

    async def _bare(self, deadline_ns: int) -> bool:
        call = InferCall(
            call_id=random_id(self._rng),
            model=f"{self._config.model}@1",
            window=self._window,
            context=self._context,
            interval_level=INTERVAL_LEVELS[4],
            deadline_ns=deadline_ns,
            traceparent="",
        )
        reply = await self._bare_infer.remote(call)
        if isinstance(reply, Refusal):
            raise reply.error
        return False


def _with_promise(told: Played, decision: Decision) -> Played:
    promise = decision.promise
    return told._replace(expected_ms=promise.expected_ms, p_meet=promise.p_meet, replica=decision.replica)


def _catalogue(repository: Path, model: str) -> Catalogue:
    return Catalogue.of(
        [read_card(path.parent) for path in repository.glob(f"{model}/*/{CARD_FILE}")], version=1
    )


def build_player(config: PlayerConfig, name: str) -> Application:
    """The player's application."""
    options: dict[str, Any] = {"name": name, "ray_actor_options": {"num_cpus": 0.1}}
    return serve.deployment(**options)(Player).bind(config)
