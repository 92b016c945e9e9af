"""The tracker as a Serve application: one replica that judges and stays."""

from __future__ import annotations

import asyncio
import time
from random import SystemRandom
from typing import Any, Final

from ray import serve
from ray.serve import Application

from deployments.router.meter import RayMeter
from deployments.tracker.config import TrackerConfig
from deployments.tracker.worker import TrackerWorker
from messaging.connect import open_bus
from messaging.topics import EVIDENCE, OUTCOMES, PREDICTIONS, check_topics
from models.errors import OwnershipLost

_DOWN_LIMIT_S: Final = 60.0


class Tracker:
    """Runs a `TrackerWorker` for as long as the replica lives. Its health is that task's."""

    async def __init__(self, config: TrackerConfig) -> None:  # type: ignore[misc]  # Serve awaits it
        name = f"tracker-{serve.get_replica_context().replica_id.unique_id}"
        meter = RayMeter()
        self._bus = await open_bus(config.kafka, client_id=name, meter=meter)
        await check_topics(self._bus, [PREDICTIONS, OUTCOMES, EVIDENCE])
        self._worker = TrackerWorker(
            self._bus, config.judging, name=name, clock=time.time_ns, rng=SystemRandom(), meter=meter
        )
        self._running = asyncio.create_task(self._worker.run())

    async def status(self) -> dict[str, Any]:
        """Whether it judges, how far it is, and what it could not judge."""
        return self._worker.status()

    async def check_health(self) -> None:
        """Raises what ended the worker, or that it was assigned the log for a minute without being live."""
        if self._running.done():
            self._running.result()
        if (down_s := self._worker.down_s()) > _DOWN_LIMIT_S:
            raise OwnershipLost(f"{OUTCOMES.name} has been assigned here for {down_s:.0f} s, not live")

    async def __del__(self) -> None:
        """Leave the group, so that a successor need not wait for the session to end."""
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        await self._bus.close()


def build_tracker(config: TrackerConfig) -> Application:
    """The application of the tracker; deploy it without a route."""
    tracker = serve.deployment(
        name="Tracker", num_replicas=1, ray_actor_options={"num_cpus": config.num_cpus}
    )(Tracker)
    return tracker.bind(config)
