"""One decision's numbers: predicted completion, feasibility and score of every candidate.

Kept as arrays; the readable form is rendered when somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

import numpy as np

from models.decision import CandidateView, FilterCount, Promise
from models.errors import NothingFeasible
from routing.candidates import Candidates
from routing.latency import Completion, Floats
from routing.load import LoadSnapshot
from routing.profiles import Profile
from routing.refusals import RETRY_S, nowhere_to_run

SHORTLIST: Final = 64
_LATE: Final = -1.0
_EXCLUDED: Final = -2.0


class Evaluation(NamedTuple):
    """`scores` are those of the profile; negative for candidates that are late or excluded."""

    candidates: Candidates
    load: LoadSnapshot
    size: int
    completion: Completion
    scores: Floats

    def pick(self, profile: Profile, seed: int) -> int | None:
        """The row that the profile's picker chooses; None if no candidate fits."""
        if not self.candidates.rows:
            return None
        ties = profile.live_ties.of_completion(self.completion) if profile.live_ties else self.candidates.ties
        return profile.picker.pick(self.scores, ties, seed)

    def p_meet(self, row: int) -> float:
        """Probability that the candidate answers within the budget."""
        completion = self.completion
        spread = self.load.spreads[self.candidates.rows[row].group][self.size]
        quantile_ms = completion.quantile_ms.item(row)
        return spread.share_within(completion.budget_ms / quantile_ms * spread.tail)

    def promise(self, row: int) -> Promise:
        return Promise.computed(
            {
                **self.candidates.rows[row].model.promised,
                "expected_ms": self.completion.expected_ms.item(row),
                "quantile_ms": self.completion.quantile_ms.item(row),
                "p_meet": self.p_meet(row),
            }
        )

    def shortlist(self) -> tuple[CandidateView, ...]:
        """The best candidates, best first; late ones by how soon they could answer."""
        order = np.lexsort((self.completion.quantile_ms, -self.scores))
        kept = order[self.scores[order] != _EXCLUDED]
        return tuple(self._view(int(row)) for row in kept[:SHORTLIST])

    def filters(self) -> tuple[FilterCount, ...]:
        """What each filter removed, ending with those that depend on this request alone."""
        return (
            *self.candidates.counts,
            self._removed("excluded", _EXCLUDED),
            self._removed("deadline", _LATE),
        )

    def refusal(self) -> NothingFeasible:
        """Why none can be chosen: the one that comes nearest, and when to ask again."""
        order = self.shortlist()
        if not order:
            return nowhere_to_run(self.filters())
        nearest = max(order, key=lambda view: view.p_meet)
        fastest = order[0]
        budget_ms = self.completion.budget_ms
        return NothingFeasible(
            f"no candidate is sure to answer within {budget_ms:.1f} ms; the fastest, {fastest.model} on "
            f"{fastest.replica}, may take {fastest.quantile_ms:.1f} ms",
            field="max_latency_ms",
            retry_after_s=self._drained_s(),
            details={
                "requirement": "max_latency_ms",
                "asked": budget_ms,
                "best_available": fastest.quantile_ms,
                "best_p_meet": nearest.p_meet,
                "best_model": nearest.model,
                "candidates": len(self.candidates.rows),
            },
        )

    def _view(self, row: int) -> CandidateView:
        candidate = self.candidates.rows[row]
        return CandidateView(
            model=candidate.model.name,
            replica=candidate.replica,
            pool=candidate.pool,
            expected_ms=self.completion.expected_ms.item(row),
            quantile_ms=self.completion.quantile_ms.item(row),
            p_meet=self.p_meet(row),
            feasible=bool(self.scores[row] >= 0.0),
            score=max(0.0, float(self.scores[row])),
            queue=round(float(self.load.calls[self.candidates.replicas[row]])),
        )

    def _removed(self, name: str, mark: float) -> FilterCount:
        rows = (self.scores == mark).nonzero()[0]
        if not rows.size:
            return FilterCount(name=name, removed=0)
        candidate = self.candidates.rows[rows[0]]
        quantile_ms = self.completion.quantile_ms[rows[0]]
        why = "already tried" if mark == _EXCLUDED else f"may take {quantile_ms:.1f} ms"
        return FilterCount(
            name=name, removed=rows.size, example=f"{candidate.model.name} on {candidate.replica}", reason=why
        )

    def _drained_s(self) -> float:
        """When enough of a queue is done for one candidate to fit, if queues are what is in the way."""
        cells = self.candidates.cells
        service_ms, tail = self.load.service_ms[self.size, cells], self.load.tail[self.size, cells]
        idle_fits = (service_ms + self.load.hop_ms) * tail <= self.completion.budget_ms
        over_ms = (self.completion.quantile_ms - self.completion.budget_ms)[
            idle_fits & (self.scores == _LATE)
        ]
        return float(over_ms.min()) / 1e3 if over_ms.size else RETRY_S


def evaluate(
    candidates: Candidates,
    profile: Profile,
    load: LoadSnapshot,
    *,
    size: int,
    budget_ms: float,
    exclude: Collection[str],
) -> Evaluation:
    """Predict, test against the deadline and score every candidate."""
    completion = predict(candidates, load, size=size, budget_ms=budget_ms)
    scores = profile.scores(candidates.trait_scores, completion)
    if completion.slowest_ms > budget_ms:
        scores[completion.quantile_ms > budget_ms] = _LATE
    if exclude:
        scores[candidates.on(exclude)] = _EXCLUDED
    return Evaluation(candidates, load, size, completion, scores)


def predict(candidates: Candidates, load: LoadSnapshot, *, size: int, budget_ms: float) -> Completion:
    """Shortest expected delay: service time, times what the queue makes of it, plus the way and back."""
    expected_ms = load.service_ms[size].take(candidates.cells)
    expected_ms *= load.delay.take(candidates.replicas)
    expected_ms += load.hop_ms
    return Completion(expected_ms, expected_ms * load.tail[size].take(candidates.cells), budget_ms)
