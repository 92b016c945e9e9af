"""Second calls: elsewhere after a replica did not answer, beside the first while that is late.

A replica that was busy, lost or failed costs one more attempt on another one inside the deadline, as far as
the retry budget goes. A call that no replica took does not count as that one: while a pool is being replaced,
the replica that leaves and the one that is next to leave may both refuse, and a third would have answered.

A first call that will probably miss its deadline gets a second one beside it, as
`routing/protection/hedging.py` says; the first answer counts and the other call is stopped. Inference has no
side effects, so a second call is safe even where nobody knows how far the first one got.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Final, Protocol

from deployments.router.calls import Calls, Work
from deployments.router.race import Call, Race
from models.answer import Answer
from models.decision import Decision, Execution
from models.errors import HubError, NoModelMatches, NothingFeasible, ReplicaError, TicketRefused
from models.metrics import Meter
from models.request import Requirements
from routing.latency import Spread
from routing.protection.budget import RETRIES, AttemptBudget
from routing.protection.hedging import HedgePolicy

_MOST_TAKEN: Final = 2
"""Calls for one request, one after the other, that a replica took and did not answer."""
_MOST_CALLS: Final = 4
"""The same with those that no replica took: more refusals in a row come from no replacement."""


class Deciding(Protocol):
    """Who says where a call goes; `Decisions` does."""

    def decide(
        self, requirements: Requirements, *, attempt: int = 1, exclude: frozenset[str] = frozenset()
    ) -> Decision: ...

    def spread(self, decision: Decision, *, rows: int) -> Spread: ...


class SecondCalls:
    """Gets an answer to a decided request in at most two calls that were taken. Belongs to one event loop."""

    def __init__(
        self,
        calls: Calls,
        decisions: Deciding,
        hedges: HedgePolicy,
        *,
        clock: Callable[[], int],
        meter: Meter,
    ) -> None:
        self._calls = calls
        self._decisions = decisions
        self._clock = clock
        self._meter = meter
        self._hedges = hedges
        self._retries = AttemptBudget(RETRIES)

    @property
    def ready(self) -> bool:
        """Whether the pools are up."""
        return self._calls.ready

    async def answer(self, work: Work, decision: Decision) -> Answer:
        """The first answer. Raises the error of the last call made."""
        self._retries.earn(self._clock())
        call, tried, taken = self._hedged(work, decision), {decision.replica}, 0
        while True:
            try:
                return await call
            except ReplicaError as error:
                taken += not isinstance(error, TicketRefused)
                if taken == _MOST_TAKEN or decision.attempt == _MOST_CALLS:
                    raise
                decision = self._elsewhere(work, decision.attempt + 1, tried, error)
            tried.add(decision.replica)
            call = self._calls.call(work, decision)

    async def _hedged(self, work: Work, decision: Decision) -> Answer:
        if decision.execution is Execution.LOCAL:  # it would be answered by the same process
            return await self._calls.call(work, decision)
        self._hedges.earn(self._clock())
        race = Race(lambda: self._look_after_ms(work, decision), lambda: self._late(work, decision))
        answer = await race.run(self._calls.call(work, decision))
        return replace(answer, hedged=True) if race.hedged else answer

    def _look_after_ms(self, work: Work, decision: Decision) -> float | None:
        ratios = self._decisions.spread(decision, rows=len(work.window))
        return self._hedges.check_after_ms(decision, ratios)

    def _late(self, work: Work, decision: Decision) -> Call | float | None:
        """A second call as soon as that is worth while, or when to look again; None if it never will be."""
        if other := self._beside(work, decision):
            return self._calls.call(work, other)
        elapsed_ms = (self._clock() - decision.decided_ns) / 1e6
        return self._hedges.again_after_ms(decision, elapsed_ms=elapsed_ms)

    def _beside(self, work: Work, first: Decision) -> Decision | None:
        """A decision for a second call beside a first one that is out; None if there is no use in it."""
        now_ns = self._clock()
        ratios = self._decisions.spread(first, rows=len(work.window))
        try:
            other = self._decide(work, 2, {first.replica})
        except HubError:
            return None
        elapsed_ms = (now_ns - first.decided_ns) / 1e6
        if not self._hedges.should(first, other, ratios, elapsed_ms=elapsed_ms, now_ns=now_ns):
            return None
        self._meter.count("hub_hedges_total", {"profile": first.profile})
        return other

    def _elsewhere(self, work: Work, attempt: int, tried: Collection[str], error: ReplicaError) -> Decision:
        """A decision for another replica; if there is none, or no budget, the last call's error stands."""
        if not self._retries.spend(self._clock()):
            raise error
        try:
            return self._decide(work, attempt, tried)
        except (NoModelMatches, NothingFeasible):
            raise error from None

    def _decide(self, work: Work, attempt: int, tried: Collection[str]) -> Decision:
        return self._decisions.decide(work.requirements, attempt=attempt, exclude=frozenset(tried))
