"""Puts a routed client together inside a replica: the one place where its parts meet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from deployments.router import load_table
from deployments.router.admission import AdmissionDoor
from deployments.router.afterwards import Afterwards
from deployments.router.attempts import Attempts
from deployments.router.calls import Calls
from deployments.router.catalogue_tail import CatalogueTail
from deployments.router.config import RouterConfig
from deployments.router.decisions import Decisions
from deployments.router.ejections import measure_ejections
from deployments.router.ensemble_members import AsNamed, Members
from deployments.router.ensemble_offers import EnsembleOffers
from deployments.router.ensemble_pool import EnsemblePool
from deployments.router.evidence_tail import EvidenceTail, KnownModels
from deployments.router.local_pool import LocalPool
from deployments.router.names import ENSEMBLE_POOL, LOCAL_POOL
from deployments.router.observer import Observer
from deployments.router.outbox import Outbox
from deployments.router.pools import ServePools
from deployments.router.ports import CatalogueSource, Pools
from deployments.router.quarantine import Quarantine
from deployments.router.recorder import Recorder
from deployments.router.routed_client import RoutedClient
from deployments.router.routed_pools import RoutedPools
from deployments.router.second_calls import SecondCalls
from messaging.ports import EventBus
from models.metrics import Meter
from models.outcome import DecisionOutcome
from routing.engine import Engine
from routing.load import LoadTable
from routing.protection.admission import AdmissionConfig
from routing.protection.hedging import HedgeConfig, HedgePolicy
from routing.protection.places import Usage, usage_of
from routing.trials.experiments import Experiments, load_experiments


def _forget(_outcome: DecisionOutcome) -> None:
    """For those who want to know nothing of what became of requests."""


def assemble(  # noqa: PLR0913 - one place where all the parts meet beats two where some do
    *,
    engine: Engine,
    pools: Pools,
    source: CatalogueSource,
    load: LoadTable,
    clock: Callable[[], int],
    rng: Random,
    meter: Meter,
    observer: Observer | None = None,
    hedges: HedgeConfig | None = None,
) -> RoutedClient:
    """A routed client over these parts, with a door, a quarantine and budgets of its own."""
    quarantine, afterwards = Quarantine(), Afterwards()
    offers = EnsembleOffers(source, load, clock=clock, rng=rng)
    decisions = Decisions(
        engine=engine,
        source=offers,
        load=load,
        quarantine=quarantine,
        afterwards=afterwards,
        clock=clock,
        rng=rng,
        meter=meter,
    )
    attempts = Attempts(load, quarantine, afterwards=afterwards, clock=clock, meter=meter)
    policy = HedgePolicy(hedges)
    alone, named = Calls(pools, attempts, clock=clock, rng=rng), AsNamed(decisions)
    members = Members(
        SecondCalls(alone, named, policy, clock=clock, meter=meter), named, catalogue=lambda: offers.catalogue
    )
    ensembles = EnsemblePool(offers, members, clock)
    calls = Calls(pools, attempts, clock=clock, rng=rng, ensembles=ensembles)

    def usage(now_ns: int) -> Usage:
        return usage_of(load.snapshot(now_ns), now_ns, aside=ENSEMBLE_POOL)

    return RoutedClient(
        experiments=observer.live if observer else Experiments(),
        observe=observer.observe if observer else _forget,
        door=AdmissionDoor(AdmissionConfig(), usage=usage, clock=clock, meter=meter),
        decisions=decisions,
        answers=SecondCalls(calls, decisions, policy, clock=clock, meter=meter),
        afterwards=afterwards,
        clock=clock,
        meter=meter,
    )


class Routing:
    """A routed client and the tasks that keep it informed. `open` it in the event loop that will call it.

    It is usable at once: until the catalogue and the pools are there, `client.ready()` is false and decisions
    are refused with what is missing.
    """

    def __init__(
        self,
        config: RouterConfig,
        bus: EventBus,
        *,
        room: str,
        clock: Callable[[], int],
        rng: Random,
        meter: Meter,
    ) -> None:
        self._config = config
        self._clock = clock
        self._meter = meter
        self.tail = CatalogueTail(bus, room=room, clock=clock, rng=rng, meter=meter)
        self._evidence = EvidenceTail(bus, rng=rng)
        self.models = KnownModels(self.tail, self._evidence)
        self.pools = ServePools(
            config.pools,
            by_reference_from=config.by_reference_from_bytes,
            seen=lambda pool: bool(load_table.TABLE.replicas(pool)),
        )
        self.local = (
            LocalPool(config.local, load_table.TABLE, clock=clock, rng=rng, meter=meter)
            if config.local
            else None
        )
        outbox = Outbox(self.pools, most_bytes=config.by_reference_from_bytes)
        self.recorder = Recorder(config.profiles, load_table.TABLE, clock=clock)
        self.experiments = load_experiments(
            config.experiments,
            profiles=self.recorder.profiles.names,
            canary_share=config.canary_share,
        )
        self.observer = Observer(self.experiments, catalogue=lambda: self.models.catalogue, clock=clock)
        self.client = assemble(
            engine=self.recorder.engine,
            pools=RoutedPools(outbox, self.local),
            source=self.models,
            load=load_table.TABLE,
            clock=clock,
            rng=rng,
            meter=meter,
            observer=self.observer,
        )
        self._tasks: list[asyncio.Task[None]] = []

    def open(self) -> None:
        """Start to follow the catalogue, to bring up the pools and to measure what is ejected."""
        inside = (LOCAL_POOL, ENSEMBLE_POOL) if self.local else (ENSEMBLE_POOL,)
        pools = (*self._config.pools, *inside)
        self._tasks = [
            asyncio.create_task(self.tail.run()),
            asyncio.create_task(self._evidence.run()),
            asyncio.create_task(self.pools.open(seen_timeout_s=self._config.seen_timeout_s)),
            asyncio.create_task(
                measure_ejections(load_table.TABLE, pools, clock=self._clock, meter=self._meter)
            ),
        ]
        if self.local:
            self._tasks.append(asyncio.create_task(self.local.open()))

    def check(self) -> None:
        """Raises what ended one of the tasks for good; call it from the replica's health check."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def close(self) -> None:
        """Stop the tasks. Calls in flight are not touched."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.pools.close()
        if self.local:
            self.local.close()
