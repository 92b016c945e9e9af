"""Lets models move through their life by policy: looks at the evidence, and makes the changes it calls for.

Only the registry that owns the catalogue acts; every step is an event with its numbers, as if somebody had
asked for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NoReturn

from deployments.registry.lifecycle import Change, moved_to, promote, retire
from deployments.registry.worker import RegistryWorker
from deployments.router.catalogue_fold import Entry
from models.card import ModelStatus
from models.errors import HubError
from models.events import Origin
from models.evidence import ModelEvidence
from routing.evidence.lifecycle import LifecyclePolicy, NextStep, Standing, next_step

log = logging.getLogger("ray.serve")

BY_POLICY: Final = "policy"
_PERIOD_S: Final = 2.0


class Steward:
    """Run `run` as a task."""

    def __init__(
        self,
        worker: RegistryWorker,
        evidence: Callable[[], Mapping[str, ModelEvidence]],
        policy: LifecyclePolicy,
        *,
        control: str,
        clock: Callable[[], int],
        period_s: float = _PERIOD_S,
    ) -> None:
        self._worker = worker
        self._evidence = evidence
        self._policy = policy
        self._control = control
        self._clock = clock
        self._period_s = period_s

    async def run(self) -> NoReturn:
        """Look and act, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._period_s)

    async def look(self) -> None:
        """Look at every model once; nothing is done by a registry that does not own the catalogue."""
        if not (self._policy.automatic and self._worker.live):
            return
        standings = standings_of(self._worker.models, self._evidence())
        for one in standings:
            step = next_step(one, standings, self._policy, control=self._control, now_ns=self._clock())
            if step is not None:
                await self._take(str(one.card.key), step)

    async def _take(self, model: str, step: NextStep) -> None:
        """Make the change; one that has become impossible since is left, and looked at again."""
        try:
            await self._worker.change(change_of(model, step), by=BY_POLICY)
        except HubError as error:
            log.warning("%s could not be moved by policy: %s", model, error.message)
        else:
            log.warning("%s is %s by policy: %s %s", model, _name(step), step.reason, step.numbers)


def standings_of(models: Mapping[str, Entry], seen: Mapping[str, ModelEvidence]) -> Sequence[Standing]:
    """All models of the catalogue, each with what was seen of it."""
    return [
        Standing(entry.card, entry.since_ns, seen.get(name), entry.origin is Origin.REGISTERED)
        for name, entry in sorted(models.items())
    ]


def change_of(model: str, step: NextStep) -> Change:
    """The change of the catalogue that a step asks for."""
    if step.to is None:
        return retire(model, step.reason, step.numbers)
    if step.to is ModelStatus.LIVE:
        return promote(model, step.reason, step.numbers)
    return moved_to(model, step.to, step.reason, step.numbers)


def _name(step: NextStep) -> str:
    return "retired" if step.to is None else step.to.value
