"""Decisions on what this process knows now: its catalogue, its beliefs, its quarantine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from random import Random

from deployments.router.afterwards import Afterwards
from deployments.router.eligible import EligibleModels
from deployments.router.ports import CatalogueSource
from deployments.router.quarantine import Quarantine
from models.decision import Decision
from models.errors import HubError, NoModelMatches, NothingFeasible, UnknownProfile
from models.metrics import Meter
from models.request import Requirements
from routing.catalogue import Catalogue
from routing.engine import Engine
from routing.latency import Spread
from routing.load import LoadTable
from routing.protection.ladder import rungs


class Decisions:
    """Asks the engine, and measures its answers. Belongs to one event loop."""

    def __init__(
        self,
        *,
        engine: Engine,
        source: CatalogueSource,
        load: LoadTable,
        quarantine: Quarantine,
        afterwards: Afterwards,
        clock: Callable[[], int],
        rng: Random,
        meter: Meter,
    ) -> None:
        self._engine = engine
        self._source = source
        self._load = load
        self._afterwards = afterwards
        self._eligible = EligibleModels(source, quarantine)
        self._clock = clock
        self._rng = rng
        self._meter = meter

    @property
    def catalogue(self) -> Catalogue:
        return self._source.catalogue

    @property
    def ready(self) -> bool:
        return self._source.complete

    def decide(
        self, requirements: Requirements, *, attempt: int = 1, exclude: frozenset[str] = frozenset()
    ) -> Decision:
        """Choose a model and a replica, but none of those excluded. Raises as the engine does."""
        self._afterwards.catch_up()
        begun_ns = self._clock()
        try:
            decision = self._decide(requirements, begun_ns, attempt=attempt, exclude=exclude)
        except HubError as error:
            self._count(requirements, model="none", outcome=error.code)
            raise
        self._count(requirements, model=str(decision.chosen), outcome="routed")
        labels = {"profile": requirements.profile}
        self._meter.observe("hub_decision_us", labels, (self._clock() - begun_ns) / 1e3)
        self._meter.observe("hub_p_meet", labels, decision.promise.p_meet)
        return decision

    def spread(self, decision: Decision, *, rows: int) -> Spread:
        """How far completions like the one promised lie from their predictions."""
        return self._load.spread(decision.replica, str(decision.chosen), rows=rows)

    def _decide(
        self, requirements: Requirements, now_ns: int, *, attempt: int, exclude: frozenset[str]
    ) -> Decision:
        """The first rung of the ladder that has an answer; else the refusal of the first.

        A canary that cannot keep the promise is passed over: being on trial is no reason for a refusal.
        """
        choose = partial(self._eligibly, now_ns=now_ns, attempt=attempt, exclude=exclude)
        if requirements.canary:
            if self.catalogue.canary.any():
                with suppress(NoModelMatches, NothingFeasible):
                    return choose(requirements, last_resort=False)
            requirements = requirements.model_copy(update={"canary": False})
        (_, asked), *lower = rungs(requirements)
        try:
            return choose(asked)
        except NothingFeasible:
            for degradation, instead in lower:
                with suppress(NoModelMatches, NothingFeasible):
                    decision = choose(instead, last_resort=False)
                    return decision.model_copy(update={"degradation": degradation})
            raise

    def _eligibly(
        self,
        requirements: Requirements,
        *,
        now_ns: int,
        attempt: int,
        exclude: frozenset[str],
        last_resort: bool = True,
    ) -> Decision:
        """The first of the eligible catalogues that has an answer; else the refusal of the last one."""
        if requirements.model is not None:
            self._eligible.check_named(requirements.model, now_ns)
            last_resort = False
        ask = partial(self._ask, requirements, now_ns=now_ns, attempt=attempt, exclude=exclude)
        *first, last = self._eligible.catalogues(now_ns, last_resort=last_resort)
        for catalogue in first:
            with suppress(NoModelMatches, NothingFeasible):
                return ask(catalogue)
        return ask(last)

    def _ask(
        self,
        requirements: Requirements,
        catalogue: Catalogue,
        *,
        now_ns: int,
        attempt: int,
        exclude: frozenset[str],
    ) -> Decision:
        return self._engine.decide(
            requirements,
            catalogue,
            self._load.snapshot(now_ns),
            now_ns=now_ns,
            rng=self._rng,
            attempt=attempt,
            exclude=exclude,
        )

    def _count(self, requirements: Requirements, *, model: str, outcome: str) -> None:
        known = outcome != UnknownProfile.code  # what a client made up is no label
        profile = requirements.profile if known else "unknown"
        labels = {"profile": profile, "model": model, "outcome": outcome}
        self._meter.count("hub_decisions_total", labels)
