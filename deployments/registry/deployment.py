"""The registry as a Serve application: one replica that checks, publishes and stays."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path
from random import SystemRandom
from typing import Any

from ray import serve
from ray.serve import Application

from deployments.registry.config import RegistrationConfig, RegistryConfig
from deployments.registry.ensembles import registration
from deployments.registry.lifecycle import made
from deployments.registry.registrations import Registrations
from deployments.registry.steward import Steward
from deployments.registry.worker import RegistryWorker
from deployments.router.evidence_tail import EvidenceTail
from deployments.router.meter import RayMeter
from inference.check import Repository, load_cards
from inference.confined.examine import examine
from inference.signature import Signer
from messaging.connect import open_bus
from messaging.topics import EVIDENCE, MODELS, check_topics
from models.card import ModelCard
from models.errors import ConfigError, HubError, NotPossible
from models.lifecycle import Move
from storage.artifact_store import ArtifactStore


class Registry:
    """Runs a `RegistryWorker` for as long as the replica lives. Its health is that task's."""

    async def __init__(self, config: RegistryConfig) -> None:  # type: ignore[misc]  # Serve awaits it
        name = serve.get_replica_context().replica_id.unique_id
        repository = await asyncio.to_thread(_checked, Path(config.repository))
        self._meter = meter = RayMeter()
        self._bus = await open_bus(config.kafka, client_id=f"registry-{name}", meter=meter)
        await check_topics(self._bus, [MODELS, EVIDENCE])
        self._worker = RegistryWorker(
            self._bus, repository, name=name, clock=time.time_ns, rng=SystemRandom(), meter=meter
        )
        self._registrations = _registrations(config.registration)
        evidence = EvidenceTail(self._bus, rng=SystemRandom())
        steward = Steward(
            self._worker,
            lambda: evidence.evidence,
            config.lifecycle,
            control=config.control,
            clock=time.time_ns,
        )
        self._running = [asyncio.create_task(one.run()) for one in (self._worker, evidence, steward)]

    async def status(self) -> dict[str, Any]:
        """What was accepted, what was refused and why, and how far the catalogue is."""
        return self._worker.status()

    async def register(self, card: ModelCard, artefact: bytes, *, by: str) -> ModelCard:
        """The model as it stands in the catalogue once it is announced; CardRejected names what is wrong."""
        outcome = "internal"
        try:
            registered = await self._registered(card, artefact, by=by)
            outcome = "registered"
        except HubError as error:
            outcome = error.code
            raise
        finally:
            self._meter.count("hub_registrations_total", {"outcome": outcome})
        return registered

    async def _registered(self, card: ModelCard, artefact: bytes, *, by: str) -> ModelCard:
        if self._registrations is None:
            raise NotPossible("this hub takes no models at run time: `registration` is not configured")
        await self._worker.change(await registration(self._registrations, card, artefact), by=by)
        return self._worker.card(str(card.key))

    async def move(self, move: Move, *, by: str) -> int:
        """Promote, roll back or retire; the catalogue's version then."""
        return await self._worker.change(made(move), by=by)

    async def check_health(self) -> None:
        """Raises what ended the worker or the steward, so that Serve starts a new replica."""
        for task in self._running:
            if task.done():
                task.result()

    async def __del__(self) -> None:
        """Leave the group, so that a successor need not wait for the session to end."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._bus.close()


def build_registry(config: RegistryConfig) -> Application:
    """The application of the registry; deploy it without a route."""
    registry = serve.deployment(
        name="Registry", num_replicas=1, ray_actor_options={"num_cpus": config.num_cpus}
    )(Registry)
    return registry.bind(config)


def _registrations(config: RegistrationConfig | None) -> Registrations | None:
    if config is None:
        return None
    return Registrations(
        ArtifactStore(config.artefacts),
        Signer(config.signing_key.resolve()),
        partial(examine, limits=config.limits),
    )


def _checked(path: Path) -> Repository:
    """A repository without one good model is a mistake in the configuration, not a reason to retire all."""
    repository = load_cards(path)
    if not repository.cards:
        reasons = "; ".join(error.message for error in repository.rejected.values()) or "it holds no cards"
        raise ConfigError(f"model repository {path} has no usable model: {reasons}", field="repository")
    return repository
