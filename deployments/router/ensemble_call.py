"""One call of an ensemble: ask all members, wait for them, combine what those say that answered.

Members have until a little before the call's own deadline. Who has not answered by then, or failed, is left
out as long as the others have at least half of the weight.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from deployments.router.calls import Work
from deployments.router.ensemble_members import Members
from deployments.router.ensemble_offers import Standing, Weights
from deployments.router.execution.batching import Part, Run
from deployments.router.replies import Reply
from inference.ensemble import combined
from models.answer import Answer
from models.errors import HubError, InferenceFailed, InputError
from models.forecast import Forecast, InferCall
from routing.protection.ladder import reserve_ms

_LEAST_WEIGHT: Final = 0.5 - 1e-9
_QUICK_ROWS: Final = 256
"""So many rows of all members together are combined within a millisecond; more keep no event loop waiting."""
_COMBINED_MS: Final = 0.003
"""To combine one row of one member."""


@dataclass(frozen=True, slots=True)
class EnsembleCall:
    """A call on its way, with the weights of the moment it was sent."""

    standing: Standing
    members: Members
    work: Work
    call: InferCall
    clock: Callable[[], int]

    async def reply(self) -> Reply:
        """Forecasts with the weights that they were made with, or a refusal that says why there are none."""
        arrived_ns, reports = self.clock(), self.standing.reports
        try:
            with self._slot():
                part, weights = await self._answered(arrived_ns)
        except HubError as error:
            return reports.refusal(self.call, error)
        reply = reports.reply(self.call, part, self.standing.card, arrived_ns=arrived_ns)
        return replace(reply, members=weights)

    def cancel(self) -> None:
        """Giving up on `reply` was enough."""

    @contextmanager
    def _slot(self) -> Iterator[None]:
        """ReplicaBusy if too many calls of this ensemble are under way."""
        slots, call_id = self.standing.reports.slots, self.call.call_id
        slots.join(call_id)
        slots.take([call_id])
        try:
            yield
        finally:
            slots.free([call_id])

    async def _answered(self, started_ns: int) -> tuple[Part, dict[str, float]]:
        weights = self.standing.weights
        found = await self.members.ask(self.work, weights, deadline_ns=self._members_until(started_ns))
        answers = {name: one for name, one in found.items() if isinstance(one, Answer)}
        answered = sum(weights[name] for name in answers)
        if answered < _LEAST_WEIGHT:
            raise self._lost(found)
        kept = {name: weights[name] / answered for name in answers}
        forecasts = await self._combined({name: one.forecasts for name, one in answers.items()}, kept)
        return Part(Run(len(forecasts), started_ns, self.clock()), forecasts), kept

    def _members_until(self, now_ns: int) -> int:
        """The members' deadline: what is left, less what it takes to combine, but at least half of it."""
        left_ms = (self.call.deadline_ns - now_ns) / 1e6
        rows = len(self.call.window) * len(self.standing.weights)
        kept_ms = min(left_ms / 2, reserve_ms(left_ms) + rows * _COMBINED_MS)
        return self.call.deadline_ns - int(kept_ms * 1e6)

    async def _combined(self, rows: Mapping[str, list[Forecast]], weights: Weights) -> list[Forecast]:
        calibration, level = self.standing.card.calibration, self.call.interval_level
        if len(self.call.window) * len(rows) <= _QUICK_ROWS:
            return combined(rows, weights, calibration, level=level)
        return await asyncio.to_thread(combined, rows, weights, calibration, level=level)

    def _lost(self, found: Mapping[str, Answer | HubError]) -> HubError:
        """What the caller got wrong, if a member says so; else which members are missing, and why."""
        errors = {name: one for name, one in found.items() if isinstance(one, HubError)}
        wrong = next((error for error in errors.values() if isinstance(error, InputError)), None)
        if wrong is not None:
            return wrong
        missing = "; ".join(f"{name}: {error.message}" for name, error in errors.items())
        return InferenceFailed(
            f"{self.standing.card.key} has less than half of its weight: {missing}",
            details={"missing": {name: error.code for name, error in errors.items()}},
        )
