"""One call to one replica: reserve, send, wait until the deadline, learn, answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deployments.router.attempts import Attempts
from deployments.router.names import ENSEMBLE_POOL
from deployments.router.ports import Pools, Response
from deployments.router.replies import Refusal, Reply
from models.answer import Answer
from models.decision import Decision, Ticket
from models.errors import DeadlineExpired
from models.forecast import InferCall, InferReply
from models.ids import random_id
from models.prediction import Lineage
from models.request import Requirements


@dataclass(frozen=True, slots=True)
class Work:
    """What is asked of whichever replica gets it."""

    requirements: Requirements
    window: NDArray[np.float32]
    context: NDArray[np.float32]
    traceparent: str


class Ensembles(Protocol):
    """What answers with several calls of its own, for which it has to know all that is asked."""

    def send(self, work: Work, call: InferCall, ticket: Ticket) -> Response:
        """Start the call. Raises TicketRefused as a pool does."""
        ...


class Calls:
    """Makes calls that were decided. Belongs to one event loop. Without `ensembles` there are none."""

    def __init__(
        self,
        pools: Pools,
        attempts: Attempts,
        *,
        clock: Callable[[], int],
        rng: Random,
        ensembles: Ensembles | None = None,
    ) -> None:
        self._pools = pools
        self._ensembles = ensembles
        self._attempts = attempts
        self._clock = clock
        self._rng = rng

    @property
    def ready(self) -> bool:
        """Whether the pools are up."""
        return self._pools.ready

    async def call(self, work: Work, decision: Decision) -> Answer:
        """The answer of exactly the replica decided on. Raises ReplicaError, InputError or DeadlineExpired.

        Nothing is awaited before the reservation, so no two calls count on the same free slot.
        """
        with self._attempts.attempt(decision, rows=len(work.window)) as attempt:
            reply = await self._reply(work, decision)
            attempt.report = reply.load
            if isinstance(reply, Refusal):
                raise reply.error
        stages = {"decided": decision.decided_ns, "sent": attempt.sent_ns, "inferred": self._clock()}
        return Answer(reply.forecasts, decision, _lineage(decision, reply), stages, reply.load)

    async def _reply(self, work: Work, decision: Decision) -> Reply:
        """What the replica answers before the deadline; after it the call is stopped there, too."""
        deadline_ns = work.requirements.deadline_ns
        response = self._sent(work, decision)
        try:
            async with asyncio.timeout((deadline_ns - self._clock()) / 1e9):
                return await response.reply()
        except TimeoutError:
            response.cancel()
            raise DeadlineExpired(f"replica {decision.replica} did not answer before the deadline") from None
        except asyncio.CancelledError:
            response.cancel()
            raise

    def _sent(self, work: Work, decision: Decision) -> Response:
        call, ticket = self._infer_call(work, decision), decision.ticket(work.requirements.deadline_ns)
        if self._ensembles and decision.pool == ENSEMBLE_POOL:
            return self._ensembles.send(work, call, ticket)
        return self._pools.send(call, ticket)

    def _infer_call(self, work: Work, decision: Decision) -> InferCall:
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
        members=reply.members,
    )
