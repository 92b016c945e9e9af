"""A Serve deployment that calls the pools from within one of its own requests, as a gateway does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ray import serve
from ray.serve import Application

from deployments.router import load_table
from deployments.router.names import pool_app
from tests.serve.client import a_client
from tests.serve.recording import RecordingRouter
from tests.serve.replicas import a_window


class Caller:
    """Holds a routed client; every method is one Serve request."""

    async def __init__(self, pools: Sequence[str], by_reference_from: int) -> None:  # type: ignore[misc]
        self._pools = pools
        self._client = a_client(pools, by_reference_from=by_reference_from)
        await self._client.pools.open(seen_timeout_s=10)

    def ready(self) -> bool:
        """Whether the routed client may be used."""
        return self._client.router.ready()

    def seen(self) -> dict[str, int]:
        """How many replicas of each pool this process knows."""
        return {pool: len(load_table.TABLE.replicas(pool)) for pool in self._pools}

    async def routed(self, count: int, *, sleep_s: float) -> list[tuple[str, int]]:
        """So many routed calls at once; where each was to go, and which process answered."""
        window = a_window(sleep_s=sleep_s)
        answers = await asyncio.gather(*(self._client.infer(window) for _ in range(count)))
        return [(answer.decision.replica, int(answer.forecasts[0].q50)) for answer in answers]

    async def router_is_a_copy(self) -> bool:
        """Whether the router that Serve made here is of another class than the one this process imports."""
        handle: Any = self._client.pools._routes[self._pools[0]].by_value
        router = handle._router._asyncio_router._request_router
        return type(router).__name__ == "RecordingRouter" and not isinstance(router, RecordingRouter)

    async def unrouted(self, count: int) -> list[int]:
        """So many calls without a ticket at once, by Serve's own choice."""
        pool = pool_app(self._pools[0])
        handle = serve.get_deployment_handle(pool, pool)
        return list(await asyncio.gather(*(handle.pid.remote() for _ in range(count))))


def build_caller(pools: Sequence[str], *, by_reference_from: int) -> Application:
    """The caller's application."""
    caller = serve.deployment(name="Caller", max_ongoing_requests=50, ray_actor_options={"num_cpus": 0.1})
    return caller(Caller).bind(pools, by_reference_from)
