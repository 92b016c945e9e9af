"""The only caller of pools: decide -> reserve -> call -> learn -> answer, once more elsewhere if need be.

The main path is `RoutedClient.infer`. A replica that did not answer (refused, busy, lost, failed) costs one
more attempt on another one inside the deadline; whoever is slow is not hedged. Inference has no side effects,
so a second attempt is safe even where nobody knows how far the first one got.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray

from deployments.router.attempts import Attempts
from deployments.router.decisions import Decisions
from deployments.router.ports import Pools
from deployments.router.replies import Refusal, Reply
from models.answer import Answer
from models.decision import Decision
from models.errors import DeadlineExpired, NoModelMatches, NothingFeasible, ReplicaError
from models.forecast import InferCall, InferReply
from models.ids import random_id
from models.metrics import Meter
from models.prediction import Lineage
from models.request import Requirements
from routing.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class _Work:
    """What is asked of whichever replica gets it."""

    requirements: Requirements
    window: NDArray[np.float32]
    context: NDArray[np.float32]
    traceparent: str


class RoutedClient:
    """Routes calls to pools. Belongs to one event loop; any number of calls may be in flight.

    Between a decision and its reservation nothing is awaited, so no two calls count on the same free slot.
    """

    def __init__(
        self,
        *,
        decisions: Decisions,
        pools: Pools,
        attempts: Attempts,
        clock: Callable[[], int],
        rng: Random,
        meter: Meter,
    ) -> None:
        self._decisions = decisions
        self._pools = pools
        self._attempts = attempts
        self._clock = clock
        self._rng = rng
        self._meter = meter

    @property
    def catalogue(self) -> Catalogue:
        """The copy that decisions are made with."""
        return self._decisions.catalogue

    def ready(self) -> bool:
        """Whether the catalogue was read to its end and the pools are up."""
        return self._decisions.ready and self._pools.ready

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

        Raises InputError for inputs that the model refuses, RoutingError if no answer can keep the promise,
        and the ReplicaError of the last attempt.
        """
        decision = self._decisions.decide(requirements)
        met = False
        try:
            answer = await self._answer(_Work(requirements, window, context, traceparent), decision)
            met = self._clock() <= requirements.deadline_ns
        finally:
            labels = {"profile": requirements.profile, "met": str(met).lower()}
            self._meter.count("hub_promise_met_total", labels)
        return answer

    async def _answer(self, work: _Work, decision: Decision) -> Answer:
        try:
            return await self._call(work, decision)
        except ReplicaError as error:
            again = self._elsewhere(work.requirements, decision, error)
        return await self._call(work, again)

    def _elsewhere(self, requirements: Requirements, failed: Decision, error: ReplicaError) -> Decision:
        """A decision for another replica; if there is none, the first attempt's error stands."""
        try:
            return self._decisions.decide(requirements, attempt=2, exclude=frozenset({failed.replica}))
        except (NoModelMatches, NothingFeasible):
            raise error from None

    async def _call(self, work: _Work, decision: Decision) -> Answer:
        with self._attempts.attempt(decision, rows=len(work.window)) as attempt:
            reply = await self._reply(work, decision)
            attempt.report = reply.load
            if isinstance(reply, Refusal):
                raise reply.error
        stages = {"decided": decision.decided_ns, "sent": attempt.sent_ns, "inferred": self._clock()}
        return Answer(reply.forecasts, decision, _lineage(decision, reply), stages)

    async def _reply(self, work: _Work, decision: Decision) -> Reply:
        """What the replica answers before the deadline; after it the call is stopped there, too."""
        deadline_ns = work.requirements.deadline_ns
        response = self._pools.send(self._infer_call(work, decision), decision.ticket(deadline_ns))
        try:
            async with asyncio.timeout((deadline_ns - self._clock()) / 1e9):
                return await response.reply()
        except TimeoutError:
            response.cancel()
            raise DeadlineExpired(f"replica {decision.replica} did not answer before the deadline") from None
        except asyncio.CancelledError:
            response.cancel()
            raise

    def _infer_call(self, work: _Work, decision: Decision) -> InferCall:
        return InferCall(
            call_id=random_id(self._rng),
            model=str(decision.chosen),
            window=work.window,
            context=work.context,
            interval_level=decision.promise.interval_level,
            deadline_ns=work.requirements.deadline_ns,
            traceparent=work.traceparent,
        )


def _lineage(decision: Decision, reply: InferReply) -> Lineage:
    return Lineage(
        model=decision.chosen.name,
        version=decision.chosen.version,
        artifact_sha256=reply.artifact_sha256,
        calibration=reply.calibration,
        replica=decision.replica,
        decision_id=decision.decision_id,
        attempts=decision.attempt,
        inference_us=round(reply.load.service_ms * 1000),
        queue_us=round(reply.load.queue_ms * 1000),
        degradation=decision.degradation,
    )
