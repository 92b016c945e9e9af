"""Counts, completion times and kept promises of some requests; two tallies can be made one.

Coverage is by tenth of the promised probability: of those promised between 0.9 and 1, how many met.
Regret is what was predicted of the choice less the least that was predicted of a shortlisted candidate that
fits, on one decision in sixteen: reading a shortlist costs more than making a decision.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from models.base import Frozen
from models.decision import Decision, Degradation
from models.errors import Shed
from models.outcome import OK, DecisionOutcome
from routing.trials.quantiles import Quantiles

TENTHS: Final = 10
REGRET_EVERY: Final = 16


class Tenth(Frozen):
    """Requests promised at least `from_p` and less than a tenth more: mean promise, and share that met."""

    from_p: float
    n: int
    promised: float
    met: float


class Figures(Frozen):
    """What came of some requests. `picks` were decided, `answered` came back, `refused` did not, by code.

    `met` and `missed` leave out those of which nobody can say. Times are milliseconds, of answers alone.
    """

    requests: int
    picks: int
    answered: int
    met: int
    missed: int
    sheds: int
    hedges: int
    second_attempts: int
    degraded: int
    refused: dict[str, int]
    p50_ms: float | None
    p99_ms: float | None
    regret_ms: float | None
    coverage: tuple[Tenth, ...]


class Tally:
    """Adds requests up. Belongs to one event loop."""

    __slots__ = (
        "_completion",
        "_counts",
        "_judged",
        "_met",
        "_outcomes",
        "_promised",
        "_regret_ms",
        "_regrets",
    )

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._completion = Quantiles()
        self._judged = [0] * TENTHS
        self._met = [0] * TENTHS
        self._promised = [0.0] * TENTHS
        self._regrets = 0
        self._regret_ms = 0.0

    def add(self, outcome: DecisionOutcome) -> None:
        """Count one request."""
        counts = self._counts
        self._outcomes[outcome.outcome] += 1
        if outcome.outcome == OK:
            self._completion.add(outcome.elapsed_ms)
        if outcome.met is not None:
            counts["met" if outcome.met else "missed"] += 1
        if outcome.hedged:
            counts["hedges"] += 1
        if outcome.attempts > 1:
            counts["second_attempts"] += 1
        if outcome.decision is not None:
            self._decided(outcome.decision, outcome.met)

    def merge(self, other: Tally) -> None:
        """Count the requests of the other, too."""
        self._counts.update(other._counts)
        self._outcomes.update(other._outcomes)
        self._completion.merge(other._completion)
        for tenth in range(TENTHS):
            self._judged[tenth] += other._judged[tenth]
            self._met[tenth] += other._met[tenth]
            self._promised[tenth] += other._promised[tenth]
        self._regrets += other._regrets
        self._regret_ms += other._regret_ms

    def figures(self) -> Figures:
        counts, (p50_ms, p99_ms) = self._counts, self._completion.at(0.5, 0.99)
        return Figures(
            requests=self._outcomes.total(),
            picks=counts["picks"],
            answered=self._outcomes[OK],
            met=counts["met"],
            missed=counts["missed"],
            sheds=self._outcomes[Shed.code],
            hedges=counts["hedges"],
            second_attempts=counts["second_attempts"],
            degraded=counts["degraded"],
            refused={code: n for code, n in sorted(self._outcomes.items()) if code != OK},
            p50_ms=p50_ms,
            p99_ms=p99_ms,
            regret_ms=self._regret_ms / self._regrets if self._regrets else None,
            coverage=self._coverage(),
        )

    def _decided(self, decision: Decision, met: bool | None) -> None:  # noqa: FBT001 - a fact, not a switch
        self._counts["picks"] += 1
        if decision.degradation is not Degradation.NONE:
            self._counts["degraded"] += 1
        if met is not None:
            tenth = min(TENTHS - 1, int(decision.promise.p_meet * TENTHS))
            self._judged[tenth] += 1
            self._met[tenth] += met
            self._promised[tenth] += decision.promise.p_meet
        if decision.seed % REGRET_EVERY == 0:
            self._regrets += 1
            self._regret_ms += regret_ms(decision)

    def _coverage(self) -> tuple[Tenth, ...]:
        return tuple(
            Tenth(from_p=tenth / TENTHS, n=n, promised=self._promised[tenth] / n, met=self._met[tenth] / n)
            for tenth, n in enumerate(self._judged)
            if n
        )


def regret_ms(decision: Decision) -> float:
    """How much longer the choice was predicted to take than the quickest candidate that fits."""
    expected_ms = decision.promise.expected_ms
    fitting = (view.expected_ms for view in decision.shortlist if view.feasible)
    return expected_ms - min(fitting, default=expected_ms)
