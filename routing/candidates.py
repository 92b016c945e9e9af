"""From requirements to candidates: which models match, and which replicas they could run on.

Both steps depend on things that seldom change, so the engine keeps their results; what changes with every
call is in `evaluation.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.card import ModelKey
from models.decision import Decision, Degradation, FilterCount, Promise
from models.request import Requirements
from models.task import INTERVAL_LEVELS
from routing.catalogue import Catalogue
from routing.gate import Barred, Ejection, barred
from routing.latency import Floats
from routing.load import LoadSnapshot
from routing.placement import Indices, Placement
from routing.plugin import Filter, Traits
from routing.profiles import Profile
from routing.refusals import empty_catalogue, no_model_matches


@dataclass(frozen=True, slots=True)
class MatchingModel:
    """A model that meets every requirement; `promised` is a promise without what load decides."""

    key: ModelKey
    name: str
    skill_lower: float
    cost: float
    promised: Mapping[str, float | None]


_Place = tuple[MatchingModel, int, int]
"""A matching model, its cell and its replica."""


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """The matching models of one catalogue for one kind of request, and what the filters removed."""

    catalogue: Catalogue
    models: tuple[MatchingModel, ...]
    counts: tuple[FilterCount, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One row: a matching model on a replica. `group` is where its spreads are; `fixed` is a decision's
    record, filled in with what every decision for it has in common.
    """

    model: MatchingModel
    pool: str
    replica: str
    group: int
    fixed: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The rows of a choice with parallel arrays, in (model, replica) order; good until `until_ns` for as long
    as the catalogue, the placement and the ejections are the same objects.

    `trait_scores` is the part of the score that load does not change, `ties` the tie-break if that is so too.
    """

    match: Match
    placement: Placement
    ejections: Mapping[int, Ejection]
    until_ns: float
    rows: tuple[Candidate, ...]
    cells: Indices
    replicas: Indices
    trait_scores: Floats
    ties: Floats | None
    counts: tuple[FilterCount, ...]

    def hold(self, catalogue: Catalogue, load: LoadSnapshot, now_ns: int) -> bool:
        """Whether they are still what would be compiled now."""
        return (
            self.match.catalogue is catalogue
            and self.placement is load.placement
            and self.ejections is load.ejections
            and now_ns < self.until_ns
        )

    def on(self, replicas: Collection[str]) -> list[int]:
        """Rows on any of the replicas named."""
        return [number for number, row in enumerate(self.rows) if row.replica in replicas]


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
    """The rows of a match on the replicas known, less those that the error gate keeps out."""
    placement = load.placement
    held = [
        (model, placement.holders[model.name]) for model in match.models if model.name in placement.holders
    ]
    hosts = {int(replica) for _, holders in held for replica in holders.replicas}
    gate = barred(hosts, load.ejections, load.config.gate, now_ns)
    places = [
        (model, int(cell), int(replica))
        for model, holders in held
        for cell, replica in zip(holders.cells, holders.replicas, strict=True)
        if int(replica) not in gate.replicas
    ]
    traits = Traits(
        cost=np.array([model.cost for model, _, _ in places], dtype=float),
        skill_lower=np.array([model.skill_lower for model, _, _ in places], dtype=float),
    )
    common = {
        "profile": profile.name,
        "config_id": profile.config_id,
        "reason": profile.rule,
        "catalogue_version": match.catalogue.version,
        "evidence_cursor": match.catalogue.evidence_cursor,
        "candidates": len(places),
        "degradation": Degradation.NONE,
        "panic": gate.panic,
    }
    return Candidates(
        match=match,
        placement=placement,
        ejections=load.ejections,
        until_ns=gate.until_ns,
        rows=tuple(_candidate(placement, common, place) for place in places),
        cells=np.array([cell for _, cell, _ in places], dtype=np.intp),
        replicas=np.array([replica for _, _, replica in places], dtype=np.intp),
        trait_scores=profile.trait_scores(traits),
        ties=profile.trait_ties.of_traits(traits) if profile.trait_ties else None,
        counts=(*match.counts, _unplaced(match, placement), _ejected(placement, gate)),
    )


def _candidate(placement: Placement, common: Mapping[str, Any], place: _Place) -> Candidate:
    model, cell, replica = place
    pool, name = placement.pool_of(replica), placement.replicas[replica]
    blank = dict.fromkeys(Decision.model_fields)
    fixed = {**blank, **common, "chosen": model.key, "pool": pool, "replica": name}
    return Candidate(model, pool, name, placement.group_of[cell], fixed)


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
    missing = [model.name for model in match.models if model.name not in placement.holders]
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
