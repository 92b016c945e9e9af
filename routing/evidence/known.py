"""What is known of one model, by card and by outcomes, as the numbers that requirements are held against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from models.card import ModelCard
from models.evidence import ModelEvidence
from routing.evidence.shrinkage import coverage_bounds, skill_bound

NO_BOUND: Final = -1.0
"""Lower bound on coverage where nothing was measured; clears no requirement."""
NO_SKILL: Final = -1e9
"""Lower bound on skill where nothing was measured: below anything measured, and finite, as JSON has to be."""

Bounds = tuple[Sequence[float], float]
"""Lower bounds on coverage, level by level, and on skill."""


class Known:
    """Compiled once per card and evidence, and kept: most of a thousand models do not change in a second."""

    __slots__ = ("_bounds", "card", "instruments", "live")

    def __init__(self, card: ModelCard, live: ModelEvidence | None) -> None:
        self.card = card
        self.live = live
        seen = live.instruments if live else ()
        self.instruments = frozenset(item.instrument for item in card.evidence).union(
            item.instrument for item in seen
        )
        self._bounds: dict[str, Bounds] = {}

    def bounds(self, instrument: str) -> Bounds:
        """Of an instrument; of all (`*`) where it was not measured."""
        found = self._bounds.get(instrument)
        if found is None:
            found = self._bounds[instrument] = self._compiled(instrument)
        return found

    def _compiled(self, instrument: str) -> Bounds:
        coverage = coverage_bounds(self.card, self.live, instrument)
        skill = skill_bound(self.card, self.live, instrument)
        filled = tuple(NO_BOUND if bound is None else bound for bound in coverage)
        return filled, NO_SKILL if skill is None else skill


def known_of(card: ModelCard, live: ModelEvidence | None, before: Known | None) -> Known:
    """What is known now; the same object as before if nothing has changed."""
    same = before is not None and before.card is card and before.live is live
    return before if before is not None and same else Known(card, live)
