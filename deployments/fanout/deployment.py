"""The fan-out as a Serve application: replicas that share the users among them."""

from __future__ import annotations

import asyncio
import time
from random import SystemRandom
from typing import Any, Final

from ray import serve
from ray.serve import Application

from deployments.fanout.config import FanoutConfig, WorkerConfig
from deployments.fanout.worker import FanoutWorker
from deployments.router.meter import RayMeter
from messaging.connect import make_broadcast, open_bus
from messaging.topics import CONTROL, PREDICTIONS, SIGNAL_STATE, SIGNALS, SUBSCRIPTIONS, check_topics
from models.garbage import spare_collections_once

_TOPICS: Final = (PREDICTIONS, SUBSCRIPTIONS, SIGNALS, SIGNAL_STATE, CONTROL)


class Fanout:
    """Runs a `FanoutWorker` for as long as the replica lives. Its health is that task's."""

    async def __init__(self, config: FanoutConfig) -> None:  # type: ignore[misc]  # Serve awaits it
        name = f"fanout-{serve.get_replica_context().replica_id.unique_id}"
        self._config = config
        meter = RayMeter()
        self._bus = await open_bus(config.kafka, client_id=name, meter=meter)
        await check_topics(self._bus, _TOPICS)
        self._broadcast = make_broadcast(config.nats, name=name, meter=meter) if config.nats else None
        self._worker = FanoutWorker(
            self._bus,
            config.strategies,
            clock=time.time_ns,
            rng=SystemRandom(),
            meter=meter,
            config=WorkerConfig(name=name, **config.timings.model_dump()),
            broadcast=self._broadcast,
        )
        self._running = asyncio.create_task(self._worker.run())
        self._sparing = asyncio.create_task(spare_collections_once(lambda: self._worker.ready))

    async def status(self) -> dict[str, Any]:
        """What this replica owns, how far it is, and what became of what was owed."""
        return self._worker.status()

    async def check_health(self) -> None:
        """Raises what ended the worker, or that a partition stays assigned without being live; then Serve
        starts a new replica.
        """
        if self._running.done():
            self._running.result()
        if (down_s := self._worker.down_s()) > self._config.unhealthy_after_s:
            raise RuntimeError(f"a partition has been assigned for {down_s:.0f} s without being live")

    async def __del__(self) -> None:
        """Hand the users over: leave the group, publish on while others take over, then end."""
        await self._worker.stop()
        self._sparing.cancel()
        await asyncio.gather(self._running, self._sparing, return_exceptions=True)
        if self._broadcast:
            await self._broadcast.close()
        await self._bus.close()


def build_fanout(config: FanoutConfig) -> Application:
    """The application of the fan-out; deploy it without a route."""
    fanout = serve.deployment(
        name="Fanout",
        num_replicas=config.workers,
        ray_actor_options={"num_cpus": config.num_cpus},
        graceful_shutdown_timeout_s=config.timings.drain_s + 10.0,
    )(Fanout)
    return fanout.bind(config)
