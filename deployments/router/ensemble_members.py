"""The members of an ensemble, all asked at once, each as a routed call of its own.

A member is decided on by name, reserved, hedged and learned from like any other call. It promises nobody
anything, takes part in no experiment and does not stand at the door: the request that it is part of has been
let in already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from deployments.router.calls import Work
from deployments.router.decisions import Decisions
from deployments.router.recalibration import at_calibration_in_force
from deployments.router.second_calls import SecondCalls
from models.answer import Answer
from models.decision import Decision, Degradation
from models.errors import HubError, NothingFeasible
from models.request import Requirements
from routing.catalogue import Catalogue
from routing.latency import Spread


@dataclass(frozen=True, slots=True)
class AsNamed:
    """Decides as the others do, but on nothing else than what was named: a smaller model that stands in for a
    member would count twice, or for what it is not.
    """

    decisions: Decisions

    def decide(
        self, requirements: Requirements, *, attempt: int = 1, exclude: frozenset[str] = frozenset()
    ) -> Decision:
        decision = self.decisions.decide(requirements, attempt=attempt, exclude=exclude)
        if decision.degradation is not Degradation.NONE:
            raise NothingFeasible(f"{requirements.model} cannot answer in time", field="model")
        return decision

    def spread(self, decision: Decision, *, rows: int) -> Spread:
        return self.decisions.spread(decision, rows=rows)


class Members:
    """Asks members of ensembles. `answers` decides `AsNamed` and reaches no ensembles: none asks another."""

    def __init__(
        self, answers: SecondCalls, decisions: AsNamed, *, catalogue: Callable[[], Catalogue]
    ) -> None:
        self._answers = answers
        self._decisions = decisions
        self._catalogue = catalogue

    async def ask(
        self, work: Work, members: Collection[str], *, deadline_ns: int
    ) -> dict[str, Answer | HubError]:
        """What each says by the deadline, or why it said nothing. Nothing runs on afterwards, also not for a
        caller that gives up.
        """
        async with asyncio.TaskGroup() as group:
            out = {name: group.create_task(self._one(_asked_of(name, work, deadline_ns))) for name in members}
        return {name: task.result() for name, task in out.items()}

    async def _one(self, work: Work) -> Answer | HubError:
        try:
            return await self._answered(work)
        except HubError as error:
            return error

    async def _answered(self, work: Work) -> Answer:
        wanted = work.requirements
        answer = await self._answers.answer(work, self._decisions.decide(wanted))
        return at_calibration_in_force(answer, self._catalogue(), wanted.instruments)


def _asked_of(member: str, work: Work, deadline_ns: int) -> Work:
    """The same work for one member. How accurate the answer has to be is asked of the ensemble alone."""
    mine = {"model": member, "deadline_ns": deadline_ns, "min_accuracy": None, "canary": False}
    return replace(work, requirements=work.requirements.model_copy(update=mine))
