"""One decision's numbers: predicted completion, score and feasibility, of as few candidates as will do.

Between replicas of a cohort only their load differs, so the best of them is the best for every model: first
the nearest replica of each cohort, then all models on those few (`Rows`). Where the one that scores best fits
the deadline, it is the best of all that fit, and no other needs the test. Only where it does not, or where a
picker asks for it, every (model, replica) pair is looked at (`Pairs`); so is it to explain a decision.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

import numpy as np

from models.decision import Promise
from routing.catalogue import Mask
from routing.choice.candidates import SEEDS, Candidates
from routing.choice.few import Few
from routing.choice.pairs import Pairs
from routing.latency import Completion
from routing.load import LoadSnapshot
from routing.plugin import NearestPicker
from routing.profiles import Profile

_MIX: Final = 0x9E3779B97F4A7C15
_WORD: Final = (1 << 64) - 1


class Choice(NamedTuple):
    """A row of the candidates on one of its cohort's replicas, with what can be promised of it."""

    row: int
    replica: int
    expected_ms: float
    quantile_ms: float
    explored: bool = False


class Evaluation:
    """Everything one decision depends on, and what follows from it. Never changed once it was made."""

    __slots__ = ("_pairs", "budget_ms", "candidates", "exclude", "load", "profile", "seed", "size")

    def __init__(
        self,
        candidates: Candidates,
        profile: Profile,
        load: LoadSnapshot,
        *,
        size: int,
        budget_ms: float,
        seed: int,
        exclude: Collection[str],
    ) -> None:
        self.candidates = candidates
        self.profile = profile
        self.load = load
        self.size = size
        self.budget_ms = budget_ms
        self.seed = seed
        self.exclude = exclude
        self._pairs: Pairs | None = None

    def choose(self) -> Choice | None:
        """The candidate that the profile's picker prefers among those that fit. If none does, one of which it
        is time to learn whether that is still so; None if there is none either.
        """
        if not self.candidates.hosts:
            return None
        picker = self.profile.nearest_picker
        best = self._nearest(picker) if picker and not self.exclude else None
        if best is None or best.quantile_ms > self.budget_ms:
            return self._any_pair() or self._doubted()
        return self._explored(best) if self.profile.explore.share else best

    def predicted(self, row: int, replica: int) -> Choice:
        """Shortest expected delay: service time, times what the replica makes of it, plus the way."""
        candidates, load = self.candidates, self.load
        group, standing = candidates.groups.item(row), load.standings[replica]
        service_ms = load.service_ms[self.size].item(group)
        expected_ms = service_ms * standing.slowdown + load.hop_ms[load.placement.metas[replica].pool]
        tail = load.tail[self.size][standing.depth].item(group)
        return Choice(row, replica, expected_ms, expected_ms * tail)

    def p_meet(self, choice: Choice) -> float:
        """Probability that the candidate answers within the budget."""
        group, depth = self.candidates.groups.item(choice.row), self.load.standings[choice.replica].depth
        spread = self.load.spread((group, self.size, depth))
        pool = self.load.placement.metas[choice.replica].pool
        return self.load.kept(pool, spread.share_within(self.budget_ms / choice.quantile_ms * spread.tail))

    def promise(self, choice: Choice) -> Promise:
        return Promise.computed(
            {
                **self.candidates.models[choice.row].promised,
                "expected_ms": choice.expected_ms,
                "quantile_ms": choice.quantile_ms,
                "p_meet": self.p_meet(choice),
            }
        )

    @property
    def pairs(self) -> Pairs:
        """Every (model, replica) pair; computed once, when somebody asks."""
        if self._pairs is None:
            self._pairs = Pairs.of(
                self.candidates, self.load, self.profile, size=self.size, budget_ms=self.budget_ms
            )
        return self._pairs

    def fitting(self) -> Mask:
        """Of every pair, whether it may be chosen: it fits the deadline and is not excluded."""
        return ~(self.pairs.late | self.excluded())

    def excluded(self) -> Mask:
        """Of every pair, whether its replica was tried before."""
        return self.pairs.on(self.exclude)

    def _any_pair(self) -> Choice | None:
        pairs = self.pairs
        index = pairs.pick(self.profile, self.fitting(), self.seed)
        return None if index is None else self.predicted(pairs.rows.item(index), pairs.replicas.item(index))

    def _doubted(self) -> Choice | None:
        """None fits, by what was measured. The soonest of those that would if nothing had been, and where no
        call is out that will tell.
        """
        pairs, standings = self.pairs, self.load.standings
        doubtful = np.array([standing.doubtful for standing in standings]).take(pairs.replicas)
        asked = doubtful & ~self.excluded() & (pairs.unlearned_ms(self.size) <= self.budget_ms)
        if not asked.any():
            return None
        soonest = int(np.where(asked, pairs.expected_ms, np.inf).argmin())
        choice = self.predicted(pairs.rows.item(soonest), pairs.replicas.item(soonest))
        return choice._replace(explored=True)

    def _nearest(self, picker: NearestPicker) -> Choice | None:
        """The best row on its cohort's nearest replica, whether it fits the deadline or not; None if not even
        the expected completion of any fits, which makes all scores of completion negative.
        """
        candidates, load, seed = self.candidates, self.load, self.seed
        nearest = [hosts.nearest(load, seed) for hosts in candidates.hosts]
        few = candidates.few
        row = self._best_of_few(picker, few, nearest) if few else self._best(picker, nearest)
        return None if row is None else self.predicted(row, nearest[candidates.host_of.item(row)])

    def _best(self, picker: NearestPicker, nearest: list[int]) -> int | None:
        profile, completion = self.profile, self._completion(nearest)
        scores = profile.scores(self.candidates.trait_scores, completion)
        live = profile.live_ties
        ties = live.of_completion(completion.expected_ms, self.budget_ms) if live else self.candidates.ties
        return picker.pick(scores, ties, completion, self.seed)

    def _best_of_few(self, picker: NearestPicker, few: Few, nearest: list[int]) -> int | None:
        """The same, number by number."""
        profile, load, hosts, budget_ms = self.profile, self.load, self.candidates.hosts, self.budget_ms
        ways = [
            (load.ranks[replica], load.hop_ms[hosts[number].cohort.pool])
            for number, replica in enumerate(nearest)
        ]
        expected_ms = few.expected_ms(load.service_ms[self.size], ways)
        scores = few.scores(profile.live_scorers, expected_ms, budget_ms)
        live = profile.live_ties
        ties = [live.of_completion(ms, budget_ms) for ms in expected_ms] if live else few.ties
        return picker.pick_few(scores, ties, self.seed)

    def _completion(self, nearest: list[int]) -> Completion:
        """Of each row on its cohort's nearest replica."""
        candidates, load = self.candidates, self.load
        expected_ms = load.service_ms[self.size].take(candidates.groups)
        if len(nearest) == 1:
            expected_ms *= load.ranks[nearest[0]]
            expected_ms += load.hop_ms[candidates.hosts[0].cohort.pool]
        else:
            expected_ms *= np.array([load.ranks[replica] for replica in nearest]).take(candidates.host_of)
            hops = [load.hop_ms[hosts.cohort.pool] for hosts in candidates.hosts]
            expected_ms += np.array(hops).take(candidates.host_of)
        return Completion(expected_ms, self.budget_ms)

    def _explored(self, best: Choice) -> Choice:
        """Now and then another replica for the same model, if it fits with room to spare."""
        explore, hosts = self.profile.explore, self.candidates.hosts[self.candidates.host_of.item(best.row)]
        if (self.seed * _MIX & _WORD) >> 11 >= explore.share * SEEDS:
            return best
        others = [self.predicted(best.row, replica) for replica in hosts.replicas if replica != best.replica]
        roomy = [other for other in others if other.quantile_ms <= explore.slack * self.budget_ms]
        return roomy[self.seed * len(roomy) // SEEDS]._replace(explored=True) if roomy else best
