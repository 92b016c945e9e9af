"""The only caller of pools: admitted -> decide -> reserve -> call -> learn -> answer.

The main path is `RoutedClient.infer`; `calls.py` makes one call, `second_calls.py` one more where that helps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from deployments.router.admission import AdmissionDoor
from deployments.router.afterwards import Afterwards
from deployments.router.calls import Work
from deployments.router.decisions import Decisions
from deployments.router.journey import Journey, Observe, journey
from deployments.router.recalibration import at_calibration_in_force
from deployments.router.second_calls import SecondCalls
from deployments.router.shadows import Shadows
from models.answer import Answer
from models.card import MEASURED
from models.decision import Decision
from models.metrics import Meter
from models.outcome import Assignment, DecisionOutcome
from models.request import Requirements
from routing.catalogue import Catalogue
from routing.trials.experiments import Experiments


class RoutedClient:
    """Routes calls to pools. Belongs to one event loop; any number of calls may be in flight."""

    def __init__(
        self,
        *,
        experiments: Experiments,
        door: AdmissionDoor,
        decisions: Decisions,
        answers: SecondCalls,
        observe: Observe,
        afterwards: Afterwards,
        clock: Callable[[], int],
        meter: Meter,
    ) -> None:
        self._experiments = experiments
        self._shadows = Shadows()
        self._door = door
        self._decisions = decisions
        self._answers = answers
        self._tell = observe
        self._afterwards = afterwards
        self._clock = clock
        self._meter = meter

    @property
    def catalogue(self) -> Catalogue:
        """The copy that decisions are made with."""
        return self._decisions.catalogue

    def ready(self) -> bool:
        """Whether the catalogue was read to its end and the pools are up."""
        return self._decisions.ready and self._answers.ready

    def decide(self, requirements: Requirements) -> Decision:
        """Where a call with these requirements would go now; nothing is reserved or called."""
        return self._decisions.decide(requirements)

    async def infer(
        self,
        requirements: Requirements,
        window: NDArray[np.float32],
        context: NDArray[np.float32],
        *,
        traceparent: str,
        unit: str = "",
    ) -> Answer:
        """A forecast per row, from the replica that was chosen or from a second one.

        `unit` is what stays in one arm of an experiment: the user, or nothing for the hub's own calls, each
        of which then counts by itself. Raises InputError for inputs that the model refuses, RoutingError
        (Shed among them) if no answer can keep the promise, and the ReplicaError of the last attempt.
        """
        work = Work(requirements, window, context, traceparent)
        assignment = self._experiments.arm(requirements, unit or traceparent)
        if assignment is None:
            canary = self._experiments.canary(requirements, unit or traceparent)
            drawn = requirements.model_copy(update={"canary": True}) if canary else requirements
            return await self._routed(replace(work, requirements=drawn), None)
        tried = replace(work, requirements=assignment.applied(requirements))
        if not assignment.shadow:
            return await self._routed(tried, assignment)
        self._shadows.cast(tried, assignment, self._routed)
        return await self._routed(work, assignment.answered())

    def beside(self, bar_ms: int, horizon_ms: int) -> list[str]:
        """The models that are measured on every moment of such a market, by `name@version`."""
        made_for = bar_ms, horizon_ms
        return [
            str(card.key)
            for card in self.catalogue.cards
            if card.status in MEASURED and (card.contract.bar_ms, card.contract.horizon_ms) == made_for
        ]

    async def infer_beside(
        self,
        requirements: Requirements,
        window: NDArray[np.float32],
        context: NDArray[np.float32],
        *,
        traceparent: str,
    ) -> Answer:
        """As `infer`, but it takes part in no experiment and counts for no promise."""
        work = Work(requirements, window, context, traceparent)
        return await self._answered(work, Journey())

    async def _routed(self, work: Work, assignment: Assignment | None) -> Answer:
        requirements = work.requirements
        with journey(requirements, assignment, clock=self._clock, observe=self._observe) as made:
            return await self._answered(work, made)

    async def _answered(self, work: Work, made: Journey) -> Answer:
        requirements = work.requirements
        async with self._door.admitted(requirements) as stay:
            made.decision = self._decisions.decide(requirements)
            answer = await self._answers.answer(work, made.decision)
            stay.report = answer.load
        made.answer = at_calibration_in_force(answer, self.catalogue, requirements.instruments)
        return made.answer

    def _observe(self, outcome: DecisionOutcome) -> None:
        self._afterwards.do(partial(self._count, outcome))

    def _count(self, outcome: DecisionOutcome) -> None:
        """Tell how a request ended; one that was refused before it had a decision promised nothing."""
        if outcome.decision is not None:
            labels = {"profile": outcome.decision.profile, "met": str(bool(outcome.met)).lower()}
            self._meter.count("hub_promise_met_total", labels)
        self._tell(outcome)
