"""Why a decision came out as it did, or why there is none: read from its evaluation when somebody asks."""

from __future__ import annotations

from typing import Final

import numpy as np

from models.decision import CandidateView, FilterCount
from models.errors import NothingFeasible
from routing.beliefs.placement import Indices
from routing.catalogue import Mask
from routing.choice.evaluation import Evaluation
from routing.choice.refusals import RETRY_S, nowhere_to_run

SHORTLIST: Final = 64


def shortlist(evaluation: Evaluation) -> tuple[CandidateView, ...]:
    """The best pairs, best first; late ones by how soon they could answer."""
    pairs, fitting = evaluation.pairs, evaluation.fitting()
    order = np.lexsort((pairs.quantile_ms, -np.where(fitting, pairs.scores, -1.0)))
    excluded = evaluation.excluded()
    return tuple(_view(evaluation, fitting, index) for index in order[~excluded[order]][:SHORTLIST].tolist())


def filters(evaluation: Evaluation) -> tuple[FilterCount, ...]:
    """What each filter removed, ending with those that depend on this request alone."""
    excluded = evaluation.excluded()
    late = evaluation.pairs.late & ~excluded
    return (
        *evaluation.candidates.counts,
        _removed(evaluation, "excluded", excluded.nonzero()[0]),
        _removed(evaluation, "deadline", late.nonzero()[0]),
    )


def refusal(evaluation: Evaluation) -> NothingFeasible:
    """Why none can be chosen: the one that comes nearest, and when to ask again."""
    order = shortlist(evaluation)
    if not order:
        return nowhere_to_run(filters(evaluation))
    nearest = max(order, key=lambda view: view.p_meet)
    fastest = order[0]
    budget_ms = evaluation.budget_ms
    return NothingFeasible(
        f"no candidate is sure to answer within {budget_ms:.1f} ms; the fastest, {fastest.model} on "
        f"{fastest.replica}, may take {fastest.quantile_ms:.1f} ms",
        field="max_latency_ms",
        retry_after_s=_drained_s(evaluation),
        details={
            "requirement": "max_latency_ms",
            "asked": budget_ms,
            "best_available": fastest.quantile_ms,
            "best_p_meet": nearest.p_meet,
            "best_model": nearest.model,
            "candidates": evaluation.pairs.rows.size,
        },
    )


def _view(evaluation: Evaluation, fitting: Mask, index: int) -> CandidateView:
    pairs, candidates = evaluation.pairs, evaluation.candidates
    row, replica = pairs.rows.item(index), pairs.replicas.item(index)
    feasible = bool(fitting[index])
    return CandidateView(
        model=candidates.models[row].name,
        replica=pairs.load.placement.replicas[replica],
        pool=candidates.hosts[candidates.host_of.item(row)].cohort.pool,
        expected_ms=pairs.expected_ms.item(index),
        quantile_ms=pairs.quantile_ms.item(index),
        p_meet=evaluation.p_meet(evaluation.predicted(row, replica)),
        feasible=feasible,
        score=max(0.0, pairs.scores.item(index)) if feasible else 0.0,
        queue=round(pairs.load.standings[replica].calls),
    )


def _removed(evaluation: Evaluation, name: str, found: Indices) -> FilterCount:
    if not found.size:
        return FilterCount(name=name, removed=0)
    pairs, first = evaluation.pairs, found.item(0)
    why = f"may take {pairs.quantile_ms.item(first):.1f} ms" if name == "deadline" else "already tried"
    model = evaluation.candidates.models[pairs.rows.item(first)].name
    replica = pairs.load.placement.replicas[pairs.replicas.item(first)]
    return FilterCount(name=name, removed=found.size, example=f"{model} on {replica}", reason=why)


def _drained_s(evaluation: Evaluation) -> float:
    """When enough of a queue is done for one pair to fit, if queues are what is in the way."""
    pairs, load = evaluation.pairs, evaluation.load
    groups = evaluation.candidates.groups.take(pairs.rows)
    idle = load.service_ms[evaluation.size].take(groups) * load.tail[evaluation.size][0].take(groups)
    waits = (idle <= evaluation.budget_ms) & pairs.late & ~evaluation.excluded()
    over_ms = (pairs.quantile_ms - evaluation.budget_ms)[waits]
    return float(over_ms.min()) / 1e3 if over_ms.size else RETRY_S
