"""From requirements to candidates: which models match, and which replicas they could run on.

Both steps depend on things that seldom change, so the engine keeps their results; what changes with every
call is in `evaluation.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

import numpy as np

from models.card import ModelKey
from models.decision import Decision, Degradation, Execution, FilterCount, Promise
from models.request import Requirements
from models.task import INTERVAL_LEVELS
from routing.beliefs.gate import Barred, Ejection, barred
from routing.beliefs.placement import Cohort, Indices, Placement
from routing.catalogue import Catalogue
from routing.choice.few import Few
from routing.choice.refusals import empty_catalogue, no_model_matches
from routing.latency import Floats
from routing.load import LoadSnapshot
from routing.plugin import Filter, Traits
from routing.profiles import Profile

SEEDS: Final = 1 << 53
"""Seeds are drawn below this."""


@dataclass(frozen=True, slots=True)
class MatchingModel:
    """A model that meets every requirement; `promised` is a promise without what load decides."""

    key: ModelKey
    name: str
    skill_lower: float
    cost: float
    promised: Mapping[str, float | None]


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """The matching models of one catalogue for one kind of request, and what the filters removed."""

    catalogue: Catalogue
    models: tuple[MatchingModel, ...]
    counts: tuple[FilterCount, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Hosts:
    """The replicas of one cohort that a request may go to; `ranks` takes theirs out of all replicas' ranks.

    `fixed` is what all decisions for the cohort have in common, as a decision's fields.
    """

    cohort: Cohort
    replicas: tuple[int, ...]
    ranks: Callable[[Sequence[float]], tuple[float, ...]]
    fixed: Mapping[str, Any]

    def nearest(self, load: LoadSnapshot, seed: int) -> int:
        """The replica of least rank; of equal ones one at random."""
        ranks = self.ranks(load.ranks)
        least = min(ranks)
        equal = ranks.count(least)
        if equal == 1:
            return self.replicas[ranks.index(least)]
        tied = [replica for replica, rank in zip(self.replicas, ranks, strict=True) if rank == least]
        return tied[seed * equal // SEEDS]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """What a choice is made among: rows of (model, cohort), each standing for the cohort's replicas.

    Parallel to the rows: `models`, their `groups`, the number of their `hosts`, the part of the score that
    load does not change and the tie-break if that is so too; `few` are the same where they are few.
    Good until `until_ns` for as long as catalogue, placement and ejections are the same objects.
    """

    match: Match
    placement: Placement
    ejections: Mapping[int, Ejection]
    until_ns: float
    models: tuple[MatchingModel, ...]
    groups: Indices
    hosts: tuple[Hosts, ...]
    host_of: Indices
    trait_scores: Floats
    ties: Floats | None
    few: Few | None
    counts: tuple[FilterCount, ...]

    def hold(self, catalogue: Catalogue, load: LoadSnapshot, now_ns: int) -> bool:
        """Whether they are still what would be compiled now."""
        return (
            self.match.catalogue is catalogue
            and self.placement is load.placement
            and self.ejections is load.ejections
            and now_ns < self.until_ns
        )


def match_models(filters: Sequence[Filter], wanted: Requirements, catalogue: Catalogue) -> Match:
    """Run the filters in order; NoModelMatches names the one that removed the last model."""
    if not catalogue.cards:
        raise empty_catalogue(catalogue)
    left = np.ones(len(catalogue), dtype=bool)
    counts: list[FilterCount] = []
    for judge in filters:
        removed = left & ~judge.keeps(wanted, catalogue)
        counts.append(_count(judge, wanted, catalogue, removed.nonzero()[0]))
        if (removed == left).all():
            raise no_model_matches(judge, wanted, catalogue, among=left, counts=counts)
        left &= ~removed
    return Match(catalogue, _models(wanted, catalogue, left.nonzero()[0]), tuple(counts))


def compile_candidates(match: Match, profile: Profile, load: LoadSnapshot, now_ns: int) -> Candidates:
    """The rows of a match on the cohorts known, less the replicas that the error gate keeps out."""
    placement = load.placement
    names = {model.name: model for model in match.models}
    held = [(cohort, names.keys() & cohort.groups.keys()) for cohort in placement.cohorts]
    held = [(cohort, models) for cohort, models in held if models]
    everyone = {replica for cohort, _ in held for replica in cohort.replicas}
    gate = barred(everyone, load.ejections, load.config.gate, now_ns)
    open_hosts = [(cohort, models, _allowed(cohort, gate)) for cohort, models in held]
    open_hosts = [entry for entry in open_hosts if entry[2]]
    rows = [
        (model, host, cohort.groups[model.name])
        for host, (cohort, models, _) in enumerate(open_hosts)
        for model in match.models
        if model.name in models
    ]
    traits = Traits(
        cost=np.array([model.cost for model, _, _ in rows], dtype=float),
        skill_lower=np.array([model.skill_lower for model, _, _ in rows], dtype=float),
    )
    groups = np.array([group for _, _, group in rows], dtype=np.intp)
    host_of = np.array([host for _, host, _ in rows], dtype=np.intp)
    trait_scores = profile.trait_scores(traits)
    ties = profile.trait_ties.of_traits(traits) if profile.trait_ties else None
    pairs = sum(len(models) * len(allowed) for _, models, allowed in open_hosts)
    common = _common(profile, match, pairs=pairs, panic=gate.panic)
    return Candidates(
        match=match,
        placement=placement,
        ejections=load.ejections,
        until_ns=gate.until_ns,
        models=tuple(model for model, _, _ in rows),
        groups=groups,
        hosts=tuple(_hosts(cohort, allowed, common) for cohort, _, allowed in open_hosts),
        host_of=host_of,
        trait_scores=trait_scores,
        ties=ties,
        few=Few.of(groups, host_of, trait_scores, ties),
        counts=(*match.counts, _unplaced(match, placement), _ejected(placement, gate)),
    )


def _allowed(cohort: Cohort, gate: Barred) -> tuple[int, ...]:
    return tuple(replica for replica in cohort.replicas if replica not in gate.replicas)


def _common(profile: Profile, match: Match, *, pairs: int, panic: bool) -> dict[str, Any]:
    """What all decisions among the same candidates have in common."""
    return {
        **dict.fromkeys(Decision.model_fields),
        "profile": profile.name,
        "config_id": profile.config_id,
        "reason": profile.rule,
        "catalogue_version": match.catalogue.version,
        "evidence_cursor": match.catalogue.evidence_cursor,
        "candidates": pairs,
        "degradation": Degradation.NONE,
        "explored": False,
        "panic": panic,
    }


def _hosts(cohort: Cohort, replicas: tuple[int, ...], common: Mapping[str, Any]) -> Hosts:
    execution = Execution.LOCAL if cohort.local else Execution.REMOTE
    fixed = {**common, "pool": cohort.pool, "execution": execution}
    return Hosts(cohort, replicas, taker(replicas), fixed)


def taker(replicas: tuple[int, ...]) -> Callable[[Sequence[float]], tuple[float, ...]]:
    """A function that takes the entries of these replicas out of a sequence over all."""
    if len(replicas) == 1:
        only = replicas[0]
        return lambda values: (values[only],)
    return itemgetter(*replicas)


def _models(wanted: Requirements, catalogue: Catalogue, kept: Indices) -> tuple[MatchingModel, ...]:
    levels = catalogue.answer_level(wanted.instruments, wanted.min_accuracy)
    coverage = catalogue.coverage_lower(wanted.instruments)
    skill = catalogue.skill_lower(wanted.instruments)
    return tuple(
        MatchingModel(
            key=catalogue.cards[model].key,
            name=catalogue.keys[model],
            skill_lower=float(skill[model]),
            cost=float(catalogue.cost[model]),
            promised={
                **dict.fromkeys(Promise.model_fields),
                "interval_level": INTERVAL_LEVELS[levels[model]],
                "coverage_lower": float(coverage[model, levels[model]]),
                "skill_lower": float(skill[model]),
            },
        )
        for model in kept
    )


def _count(judge: Filter, wanted: Requirements, catalogue: Catalogue, removed: Indices) -> FilterCount:
    if not removed.size:
        return FilterCount(name=judge.ref, removed=0)
    example = int(removed[0])
    reason = judge.reason(wanted, catalogue, example)
    return FilterCount(name=judge.ref, removed=removed.size, example=catalogue.keys[example], reason=reason)


def _unplaced(match: Match, placement: Placement) -> FilterCount:
    missing = [model.name for model in match.models if model.name not in placement.models]
    if not missing:
        return FilterCount(name="placed", removed=0)
    return FilterCount(
        name="placed", removed=len(missing), example=missing[0], reason="no replica holds this model"
    )


def _ejected(placement: Placement, gate: Barred) -> FilterCount:
    if not gate.replicas:
        return FilterCount(name="ejected", removed=0)
    replica, ejection = min(gate.replicas.items())
    return FilterCount(
        name="ejected",
        removed=len(gate.replicas),
        example=placement.replicas[replica],
        reason=f"out of the choice: {ejection.cause}",
    )
