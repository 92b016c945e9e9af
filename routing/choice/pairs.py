"""Every (model, replica) pair of a choice, where looking at the nearest replicas is not enough."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from routing.beliefs.placement import Indices
from routing.catalogue import Mask
from routing.choice.candidates import Candidates
from routing.latency import Completion, Floats
from routing.load import LoadSnapshot
from routing.profiles import Profile


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Parallel arrays, by row of the candidates and then by replica. `late` are those whose quantile does not
    fit the deadline; `expected_ms` and `quantile_ms` are what would be promised.
    """

    candidates: Candidates
    load: LoadSnapshot
    rows: Indices
    replicas: Indices
    expected_ms: Floats
    quantile_ms: Floats
    scores: Floats
    ties: Floats | None
    late: Mask
    budget_ms: float

    @classmethod
    def of(
        cls, candidates: Candidates, load: LoadSnapshot, profile: Profile, *, size: int, budget_ms: float
    ) -> Pairs:
        """Predict and score every pair."""
        rows, replicas = _numbers(candidates)
        groups = candidates.groups.take(rows)
        service_ms = load.service_ms[size].take(groups)
        hop_ms = _hops(candidates, load).take(candidates.host_of.take(rows))
        slowdown = np.array([standing.slowdown for standing in load.standings]).take(replicas)
        depth = np.array([standing.depth for standing in load.standings], dtype=np.intp).take(replicas)
        expected_ms = service_ms * slowdown + hop_ms
        quantile_ms = expected_ms * np.array(load.tail[size])[depth, groups]
        ranked = Completion(service_ms * np.array(load.ranks).take(replicas) + hop_ms, budget_ms)
        trait_ties = candidates.ties.take(rows) if candidates.ties is not None else None
        return cls(
            candidates=candidates,
            load=load,
            rows=rows,
            replicas=replicas,
            expected_ms=expected_ms,
            quantile_ms=quantile_ms,
            scores=profile.scores(candidates.trait_scores.take(rows), ranked),
            ties=profile.live_ties.of_completion(*ranked[:2]) if profile.live_ties else trait_ties,
            late=quantile_ms > budget_ms,
            budget_ms=budget_ms,
        )

    def on(self, replicas: Collection[str]) -> Mask:
        """Which pairs are on any of the replicas named."""
        named = np.array([name in replicas for name in self.load.placement.replicas], dtype=bool)
        return named.take(self.replicas)

    def unlearned_ms(self, size: int) -> Floats:
        """Of every pair, the quantile that would be promised had nothing been measured but the queue."""
        load, unlearned = self.load, self.load.unlearned
        groups = self.candidates.groups.take(self.rows)
        metas, standings = load.placement.metas, load.standings
        per_slot = [(one.calls + 1.0) / meta.slots for one, meta in zip(standings, metas, strict=True)]
        queue = np.maximum(1.0, per_slot).take(self.replicas)
        depth = np.array([standing.depth for standing in standings], dtype=np.intp).take(self.replicas)
        hops = [unlearned.hop_ms[hosts.cohort.pool] for hosts in self.candidates.hosts]
        hop_ms = np.array(hops, dtype=float).take(self.candidates.host_of.take(self.rows))
        expected_ms = unlearned.service_ms[size].take(groups) * queue + hop_ms
        quantile_ms: Floats = expected_ms * np.array(unlearned.tail[size])[depth, groups]
        return quantile_ms

    def pick(self, profile: Profile, fitting: Mask, seed: int) -> int | None:
        """The pair that the profile's picker prefers among those that fit; None if none does."""
        if not fitting.any():
            return None
        completion = Completion(self.expected_ms, self.budget_ms, self.quantile_ms)
        return profile.picker.pick(np.where(fitting, self.scores, -1.0), self.ties, completion, seed)


def _numbers(candidates: Candidates) -> tuple[Indices, Indices]:
    """Row and replica of every pair."""
    hosts = [np.array(entry.replicas, dtype=np.intp) for entry in candidates.hosts]
    per_row = [hosts[host] for host in candidates.host_of.tolist()]
    if not per_row:
        return np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp)
    rows = np.repeat(np.arange(len(per_row)), [len(replicas) for replicas in per_row])
    return rows, np.concatenate(per_row)


def _hops(candidates: Candidates, load: LoadSnapshot) -> Floats:
    return np.array([load.hop_ms[entry.cohort.pool] for entry in candidates.hosts], dtype=float)
