"""The registry as a Serve application: one replica that checks, publishes and stays."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from random import SystemRandom
from typing import Any

from ray import serve
from ray.serve import Application

from deployments.registry.config import RegistryConfig
from deployments.registry.worker import RegistryWorker
from deployments.router.meter import RayMeter
from inference.check import Repository, load_cards
from messaging.connect import open_bus
from messaging.topics import MODELS, check_topics
from models.errors import ConfigError


class Registry:
    """Runs a `RegistryWorker` for as long as the replica lives. Its health is that task's."""

    async def __init__(self, config: RegistryConfig) -> None:  # type: ignore[misc]  # Serve awaits it
        name = serve.get_replica_context().replica_id.unique_id
        repository = await asyncio.to_thread(_checked, Path(config.repository))
        meter = RayMeter()
        self._bus = await open_bus(config.kafka, client_id=f"registry-{name}", meter=meter)
        await check_topics(self._bus, [MODELS])
        self._worker = RegistryWorker(
            self._bus, repository, name=name, clock=time.time_ns, rng=SystemRandom(), meter=meter
        )
        self._running = asyncio.create_task(self._worker.run())

    async def status(self) -> dict[str, Any]:
        """What was accepted, what was refused and why, and how far the catalogue is."""
        return self._worker.status()

    async def check_health(self) -> None:
        """Raises what ended the worker, so that Serve starts a new replica."""
        if self._running.done():
            self._running.result()

    async def __del__(self) -> None:
        """Leave the group, so that a successor need not wait for the session to end."""
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        await self._bus.close()


def build_registry(config: RegistryConfig) -> Application:
    """The application of the registry; deploy it without a route."""
    registry = serve.deployment(
        name="Registry", num_replicas=1, ray_actor_options={"num_cpus": config.num_cpus}
    )(Registry)
    return registry.bind(config)


def _checked(path: Path) -> Repository:
    """A repository without one good model is a mistake in the configuration, not a reason to retire all."""
    repository = load_cards(path)
    if not repository.cards:
        reasons = "; ".join(error.message for error in repository.rejected.values()) or "it holds no cards"
        raise ConfigError(f"model repository {path} has no usable model: {reasons}", field="repository")
    return repository
