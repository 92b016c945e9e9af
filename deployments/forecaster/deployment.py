"""The forecaster as a Serve application: each replica runs a `ForecastWorker` and answers for its health."""

from __future__ import annotations

import asyncio
import time
from random import SystemRandom
from typing import Any, Final

from ray import serve
from ray.serve import Application

from deployments.forecaster.config import ForecasterConfig, WorkerConfig
from deployments.forecaster.worker import ForecastWorker
from deployments.router.late_meter import LateMeter
from deployments.router.meter import RayMeter
from deployments.router.opening import Routing
from messaging.connect import open_bus, open_feed
from messaging.topics import EVIDENCE, MODELS, PREDICTIONS, check_topics
from models.errors import OwnershipLost
from models.garbage import spare_collections_once

_DOWN_LIMIT_S: Final = 60.0


class Forecaster:
    """Owns one worker and its connections for as long as the replica lives."""

    async def __init__(self, config: ForecasterConfig) -> None:  # type: ignore[misc]  # Serve awaits it
        name = f"forecaster-{serve.get_replica_context().replica_id.unique_id}"
        clock, rng = time.time_ns, SystemRandom()
        meter = self._meter = LateMeter(RayMeter())
        self._bus = await open_bus(config.kafka, client_id=name, meter=meter)
        await check_topics(self._bus, [MODELS, EVIDENCE, PREDICTIONS])
        self._feed = await open_feed(config.nats, name=name, meter=meter)
        self._routing = Routing(
            config.router, self._bus, room="forecaster", clock=clock, rng=rng, meter=meter
        )
        self._routing.open()
        self._worker = ForecastWorker(
            self._bus,
            self._feed,
            self._routing.client,
            config.strategies,
            clock=clock,
            rng=rng,
            meter=meter,
            config=WorkerConfig(name=name, **config.timings.model_dump()),
        )
        self._worker.measure(self._routing.client)
        self._running = asyncio.create_task(self._worker.run())
        self._sparing = asyncio.create_task(spare_collections_once(self._is_ready))

    async def status(self) -> dict[str, Any]:
        """What the worker owns and how far it is; `ready` once it can also route."""
        return {
            **self._worker.status(),
            "routing": self._routing.client.ready(),
            "ready": self._is_ready(),
        }

    def _is_ready(self) -> bool:
        return self._worker.ready and self._routing.client.ready()

    async def check_health(self) -> None:
        """Raises what ended the worker or its routing, or that a partition has been down for a minute, so
        that Serve starts a new replica.
        """
        if self._running.done():
            self._running.result()
        self._routing.check()
        if self._worker.down_s() > _DOWN_LIMIT_S:
            raise OwnershipLost(
                f"a partition of symbols has been assigned here for {_DOWN_LIMIT_S} s, not live"
            )

    async def __del__(self) -> None:
        """Hand the symbols over, then close everything."""
        await self._worker.stop()
        self._sparing.cancel()
        await asyncio.gather(self._running, self._sparing, return_exceptions=True)
        await self._routing.close()
        self._meter.flush()
        await self._feed.close()
        await self._bus.close()


def build_forecaster(config: ForecasterConfig) -> Application:
    """The application of the forecaster; deploy it without a route."""
    forecaster = serve.deployment(
        name="Forecaster",
        num_replicas=config.workers,
        ray_actor_options={"num_cpus": config.num_cpus},
        graceful_shutdown_timeout_s=10,
    )(Forecaster)
    return forecaster.bind(config)
