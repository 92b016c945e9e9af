"""When a call that is late gets a second one beside it, on another replica: the first answer counts.

Only where it can save the deadline: the first call will probably miss it, given how long it is out already,
and the other candidate's quantile still fits what is left. Both follow from the ratios of actual to predicted
completion: with S(r) the share of calls that take longer than r times the prediction,

    P(miss | out for e) = S(budget / expected) / S(e / expected)

A crash is no lateness: a call that has ended is never hedged. The loser is cancelled by whoever holds it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Final, Protocol

from pydantic import Field

from models.base import Frozen
from models.decision import Decision
from routing.protection.budget import HEDGES, RESCUES, AttemptBudget, BudgetConfig

_LATER: Final = 0.25
"""A call is looked at again when it has been out for a quarter longer."""


class HedgeConfig(Frozen):
    """`p_miss` is how probable a miss must be; the budget bounds the extra calls, and `rescues` those that it
    would refuse although no later moment could still save the deadline.
    """

    p_miss: Annotated[float, Field(gt=0, le=1)] = 0.5
    budget: BudgetConfig = HEDGES
    rescues: BudgetConfig = RESCUES


class Ratios(Protocol):
    """How actual completions relate to predicted ones; `routing.latency.Spread` is one."""

    @property
    def ordered(self) -> Sequence[float]: ...

    def share_within(self, ratio: float) -> float: ...


def p_miss(ratios: Ratios, *, expected_ms: float, elapsed_ms: float, budget_ms: float) -> float:
    """Probability that a call which is out for `elapsed_ms` does not end within its `budget_ms`."""
    if elapsed_ms >= budget_ms:
        return 1.0
    beyond_budget = 1.0 - ratios.share_within(budget_ms / expected_ms)
    return beyond_budget / (1.0 - ratios.share_within(elapsed_ms / expected_ms))


class HedgePolicy:
    """The hedges of one process. Belongs to one thread."""

    def __init__(self, config: HedgeConfig | None = None) -> None:
        self._config = config or HedgeConfig()
        self._budget = AttemptBudget(self._config.budget)
        self._rescues = AttemptBudget(self._config.rescues)

    def earn(self, now_ns: int) -> None:
        """A first call was made."""
        self._budget.earn(now_ns)

    def check_after_ms(self, decision: Decision, ratios: Ratios) -> float | None:
        """How long after its send a first call is to be looked at if it is still out; None: not at all.

        That is when a miss becomes probable, and not before the answer is expected; never, if by then too
        little time is left for a call like this one.
        """
        promise, budget_ms = decision.promise, decision.budget_ms
        late_ms = promise.expected_ms * self._late_ratio(ratios, budget_ms / promise.expected_ms)
        return late_ms if late_ms + promise.quantile_ms <= budget_ms else None

    def again_after_ms(self, first: Decision, *, elapsed_ms: float) -> float | None:
        """How much later to look at it once more, if it was not worth a second call; None: not at all.

        What was thought when it left may have changed, and a miss becomes more probable with each moment.
        """
        later_ms = _LATER * max(elapsed_ms, first.promise.expected_ms)
        in_time = elapsed_ms + later_ms + first.promise.quantile_ms <= first.budget_ms
        return later_ms if in_time else None

    def should(
        self, first: Decision, other: Decision, ratios: Ratios, *, elapsed_ms: float, now_ns: int
    ) -> bool:
        """Whether to make the other call now; if so, it is paid for."""
        if other.replica == first.replica or other.promise.quantile_ms > first.budget_ms - elapsed_ms:
            return False
        missing = p_miss(
            ratios,
            expected_ms=first.promise.expected_ms,
            elapsed_ms=elapsed_ms,
            budget_ms=first.budget_ms,
        )
        if missing < self._config.p_miss:
            return False
        last_chance = self.again_after_ms(first, elapsed_ms=elapsed_ms) is None
        return self._budget.spend(now_ns) or (last_chance and self._rescues.spend(now_ns))

    def _late_ratio(self, ratios: Ratios, budget_ratio: float) -> float:
        """The smallest ratio, at least 1, from which on a miss is as probable as the configuration says."""
        kept = len(ratios.ordered)
        still_out = (1.0 - ratios.share_within(budget_ratio)) / self._config.p_miss
        rank = math.ceil(round((1.0 - still_out) * (kept + 1), 9))
        return max(1.0, ratios.ordered[min(rank, kept) - 1]) if rank > 0 else 1.0
