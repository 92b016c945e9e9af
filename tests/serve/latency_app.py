"""A deployment that does as it is told, behind a latency router that notes what it sees, and its caller."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any, Final

from ray import serve
from ray.serve import Application
from ray.serve.config import RequestRouterConfig
from ray.serve.handle import DeploymentHandle

from deployments.router.latency_router import LatencyRouter
from routing.ticketless.choice import CallEnd
from routing.ticketless.replica import Flight
from tests.serve import latency_notes

CAPACITY: Final = 16


class NotingRouter(LatencyRouter):
    """The shipped router, noting calls and how they ended."""

    def initialize_state(self, **kwargs: Any) -> None:
        super().initialize_state(**kwargs)
        latency_notes.made(self)

    def _finished(self, flight: Flight, end: CallEnd, ended_ns: int) -> None:
        super()._finished(flight, end, ended_ns)
        latency_notes.ended(flight, end.value)

    def read(self, flight: Flight, *, ok: bool) -> None:
        super().read(flight, ok=ok)
        latency_notes.read(ok=ok)


class Worker:
    """Answers with its process id, after some time; slower, failing or dying if it is told so."""

    def __init__(self) -> None:
        self._slower = 1.0

    async def answer(self, seconds: float = 0.0) -> int:
        await asyncio.sleep(seconds * self._slower)
        return os.getpid()

    async def fail(self) -> None:
        raise ValueError("told to fail")

    async def die(self) -> None:
        os._exit(1)

    async def stream(self, items: int, fail: bool = False) -> AsyncIterator[int]:  # noqa: FBT001, FBT002
        for item in range(items):
            yield item
        if fail:
            raise ValueError("told to fail in the end")

    async def who(self) -> tuple[int, str]:
        """Process id and the name that Serve gives the replica."""
        return os.getpid(), serve.get_replica_context().replica_id.unique_id

    async def slow_down(self, pid: int, times: float) -> int:
        """Be `times` slower from now on, if this is the process that is meant."""
        if pid in {os.getpid(), 0}:
            self._slower = times
        return os.getpid()


class Caller:
    """Calls the workers from inside a request of its own."""

    def __init__(self, workers: DeploymentHandle[Any]) -> None:
        self._workers = workers

    async def fan_out(self, calls: int, options: dict[str, Any]) -> list[int]:
        """Many calls that all belong to one request."""
        handle = self._workers.options(**options)
        return list(await asyncio.gather(*(handle.answer.remote(0.02) for _ in range(calls))))


def workers(*, replicas: int, capacity: int = CAPACITY, shipped: bool = False) -> Application:
    """Workers behind the noting router, or behind the shipped one."""
    router = LatencyRouter if shipped else NotingRouter
    return serve.deployment(
        num_replicas=replicas,
        max_ongoing_requests=capacity,
        ray_actor_options={"num_cpus": 0.05},
        request_router_config=RequestRouterConfig(request_router_class=router),  # type: ignore[arg-type]
    )(Worker).bind()


def caller(inner: Application) -> Application:
    """The caller in front of an application of workers."""
    options = {"num_cpus": 0.05}
    return serve.deployment(max_ongoing_requests=CAPACITY, ray_actor_options=options)(Caller).bind(inner)
