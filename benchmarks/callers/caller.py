"""A Serve deployment that calls a pool as a gateway does, or by a bare handle, and measures its own calls.

Where a model may run in the caller's own process, only that process can measure what a call takes. Paced
calls are open loop: they come by the clock, and their latency counts from when they were due.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final

from ray import serve
from ray.serve import Application

from benchmarks.callers.measured import Measured
from benchmarks.callers.parts import BareCalls, Cards, in_ns, opened
from deployments.router import load_table
from deployments.router.config import LocalConfig
from deployments.router.late_meter import LateMeter
from deployments.router.local_pool import LocalPool
from deployments.router.meter import RayMeter
from deployments.router.names import LOCAL_POOL
from deployments.router.opening import assemble
from deployments.router.outbox import Outbox
from deployments.router.routed_pools import RoutedPools
from models.base import Frozen
from models.request import Requirements
from models.task import TIME_SERIES_FORECAST, DataSize
from routing.engine import Engine
from routing.profiles import load_profiles

_DEADLINE_S: Final = 5.0
_LAG_EVERY_S: Final = 0.005
_EARLY_S: Final = 0.0015

Call = Callable[[], Awaitable[bool]]
"""One call; whether it was answered in this process. Raises if it was not answered."""


class CallerConfig(Frozen):
    """Which pool is called, and how. `together`: whether calls due together travel as one."""

    pool: str
    repository: str
    profiles: str
    by_reference_from: int
    together: bool = True
    local: LocalConfig | None = None


class Caller:
    """Holds a routed client and a bare handle to the same pool."""

    async def __init__(self, config: CallerConfig) -> None:  # type: ignore[misc]  # Serve awaits it
        table, clock, meter = load_table.TABLE, time.time_ns, LateMeter(RayMeter())
        rng = Random(config.pool)
        self._pools = await opened(config.pool, table, by_reference_from=config.by_reference_from)
        local = config.local and LocalPool(config.local, table, clock=clock, rng=rng, meter=meter)
        if local:
            await local.open()
        remote = Outbox(self._pools, most_bytes=config.by_reference_from if config.together else 0)
        self._client = assemble(
            engine=Engine(load_profiles(config.profiles)),
            pools=RoutedPools(remote, local or None),
            source=Cards.of(config.repository),
            load=table,
            clock=clock,
            rng=rng,
            meter=meter,
        )
        routes = self._pools._routes[config.pool]  # noqa: SLF001 - the same handle without a router of ours
        handle = routes.by_value if config.by_reference_from else routes.by_reference
        self._calls = BareCalls(handle, rng, rows=1)

    async def paced(self, way: str, model: str | None, *, rate: float, seconds: float) -> dict[str, Any]:
        """Calls at `rate` a second, by chance, whatever becomes of the earlier ones."""
        return (await self._watched(self._paced(self._call(way, model), rate, seconds))).plain()

    async def mixed(
        self, model: str, *, rate: float, others: str, others_rate: float, seconds: float
    ) -> dict[str, Any]:
        """Paced calls to one model, while calls to another are paced beside them and do not count."""
        measured, _ = await asyncio.gather(
            self._watched(self._paced(self._call("routed", model), rate, seconds)),
            self._paced(self._call("routed", others), others_rate, seconds),
        )
        return measured.plain()

    async def busy(self, way: str, model: str | None, *, callers: int, seconds: float) -> dict[str, Any]:
        """So many callers, each of which calls again as soon as it is answered."""
        call, measured = self._call(way, model), Measured(seconds)
        end_s = time.perf_counter() + seconds

        async def caller() -> None:
            while (begun_s := time.perf_counter()) < end_s:
                await _count(call, begun_s, measured)

        await asyncio.gather(*(caller() for _ in range(callers)))
        return measured.plain()

    def _call(self, way: str, model: str | None) -> Call:
        if way == "bare":
            return lambda: self._bare(str(model))
        return lambda: self._routed(model)

    async def _routed(self, model: str | None) -> bool:
        wanted = Requirements(
            task=TIME_SERIES_FORECAST.name,
            rows=1,
            data_size=DataSize.SMALL,
            deadline_ns=in_ns(_DEADLINE_S),
            profile="performance_optimized",
            model=model,
        )
        answer = await self._client.infer(wanted, self._calls.window, self._calls.context, traceparent="")
        return answer.decision.pool == LOCAL_POOL

    async def _bare(self, model: str) -> bool:
        await self._calls.infer(model, in_ns(_DEADLINE_S))
        return False

    async def _paced(self, call: Call, rate: float, seconds: float) -> Measured:
        rng, measured, calls, due_s = Random(rate), Measured(seconds), [], time.perf_counter()
        end_s = due_s + seconds
        while due_s < end_s:
            await _until(due_s)
            calls.append(asyncio.create_task(_count(call, due_s, measured)))
            due_s += rng.expovariate(rate)
        await asyncio.gather(*calls)
        return measured

    @staticmethod
    async def _watched(measuring: Awaitable[Measured]) -> Measured:
        """The measurement, with how late the loop ran meanwhile."""
        lags_ms: list[float] = []

        async def watch() -> None:
            while True:
                begun_s = time.perf_counter()
                await asyncio.sleep(_LAG_EVERY_S)
                lags_ms.append((time.perf_counter() - begun_s - _LAG_EVERY_S) * 1e3)

        watching = asyncio.create_task(watch())
        try:
            measured = await measuring
        finally:
            watching.cancel()
        measured.lags_ms = lags_ms
        return measured


async def _until(due_s: float) -> None:
    """Sleep, and be up in time: timers are a millisecond coarse, which is more than what is measured here."""
    await asyncio.sleep(due_s - time.perf_counter() - _EARLY_S)
    while time.perf_counter() < due_s:  # noqa: ASYNC110 - there is no event but the time
        await asyncio.sleep(0)


async def _count(call: Call, begun_s: float, into: Measured) -> None:
    try:
        here = await call()  # not added at once: others count while this one waits
    except Exception:  # noqa: BLE001 - counted, and the benchmark tells
        into.failed += 1
    else:
        into.local += here
        into.latencies_ms.append((time.perf_counter() - begun_s) * 1e3)


def build_caller(config: CallerConfig, name: str) -> Application:
    """The caller's application."""
    options: dict[str, Any] = {
        "name": name,
        "max_ongoing_requests": 50,
        "ray_actor_options": {"num_cpus": 0.1},
    }
    return serve.deployment(**options)(Caller).bind(config)
