"""The choice among few rows, number by number: up to about sixteen, arrays cost more than they save."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from routing.beliefs.placement import Indices
from routing.latency import Floats
from routing.plugin import LiveScorer

FEW: Final = 16


class Few(NamedTuple):
    """Rows of candidates as plain numbers: group, number of the hosts, trait score and trait ties of each."""

    groups: list[int]
    host_of: list[int]
    trait_scores: list[float]
    ties: list[float] | None

    @classmethod
    def of(cls, groups: Indices, host_of: Indices, trait_scores: Floats, ties: Floats | None) -> Few | None:
        """The rows; None if they are many."""
        if groups.size > FEW:
            return None
        plain = None if ties is None else ties.tolist()
        return cls(groups.tolist(), host_of.tolist(), trait_scores.tolist(), plain)

    def expected_ms(self, service_ms: Floats, ways: Sequence[tuple[float, float]]) -> list[float]:
        """Expected completion of each row; `ways` are the rank and the hop of each cohort's replica."""
        numbers = service_ms.item
        if len(ways) == 1:
            ((rank, hop_ms),) = ways
            return [numbers(group) * rank + hop_ms for group in self.groups]
        rows = zip(self.groups, self.host_of, strict=True)
        return [numbers(group) * ways[host][0] + ways[host][1] for group, host in rows]

    def scores(
        self, live: Sequence[tuple[LiveScorer, float]], expected_ms: Sequence[float], budget_ms: float
    ) -> list[float]:
        """The weighted sum of all scorers for each row."""
        scores = self.trait_scores
        for scorer, weight in live:
            rows = zip(scores, expected_ms, strict=True)
            scores = [score + scorer.of_completion(ms, budget_ms) * weight for score, ms in rows]
        return scores
