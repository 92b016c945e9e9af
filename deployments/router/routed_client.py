"""The only caller of pools: admitted -> decide -> reserve -> call -> learn -> answer.

The main path is `RoutedClient.infer`; `calls.py` makes one call, `second_calls.py` one more where that helps.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from deployments.router.admission import AdmissionDoor
from deployments.router.calls import Calls, Work
from deployments.router.decisions import Decisions
from deployments.router.second_calls import SecondCalls
from models.answer import Answer
from models.decision import Decision
from models.metrics import Meter
from models.request import Requirements
from routing.catalogue import Catalogue


class RoutedClient:
    """Routes calls to pools. Belongs to one event loop; any number of calls may be in flight."""

    def __init__(
        self,
        *,
        door: AdmissionDoor,
        decisions: Decisions,
        calls: Calls,
        clock: Callable[[], int],
        meter: Meter,
    ) -> None:
        self._door = door
        self._decisions = decisions
        self._calls = calls
        self._answers = SecondCalls(calls, decisions, clock=clock, meter=meter)
        self._clock = clock
        self._meter = meter

    @property
    def catalogue(self) -> Catalogue:
        """The copy that decisions are made with."""
        return self._decisions.catalogue

    def ready(self) -> bool:
        """Whether the catalogue was read to its end and the pools are up."""
        return self._decisions.ready and self._calls.ready

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
    ) -> Answer:
        """A forecast per row, from the replica that was chosen or from a second one.

        Raises InputError for inputs that the model refuses, RoutingError (Shed among them) if no answer can
        keep the promise, and the ReplicaError of the last attempt.
        """
        async with self._door.admitted(requirements) as stay:
            decision = self._decisions.decide(requirements)
            answer = await self._kept(Work(requirements, window, context, traceparent), decision)
            stay.report = answer.load
            return answer

    async def _kept(self, work: Work, decision: Decision) -> Answer:
        """The answer, counted by whether it kept its promise."""
        met = False
        try:
            answer = await self._answers.answer(work, decision)
            met = self._clock() <= work.requirements.deadline_ns
        finally:
            labels = {"profile": decision.profile, "met": str(met).lower()}
            self._meter.count("hub_promise_met_total", labels)
        return answer
