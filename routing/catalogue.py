"""An immutable copy of all model cards, compiled into arrays with one entry per model.

A new version is a new object. Whatever is derived from one may therefore be kept for as long as it is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.card import Evidence, ModelCard, ModelStatus
from models.task import INTERVAL_LEVELS
from routing.latency import Floats

Mask = NDArray[np.bool_]
Integers = NDArray[np.int64]

POOLED: Final = "*"
"""The instrument that stands for any, and for evidence pooled over all."""
ANY_LEVEL: Final = 0.90
"""Interval level of the answer when no accuracy was asked for."""
NO_BOUND: Final = -1.0
"""Lower bound on coverage where nothing was measured; clears no requirement."""
NO_SKILL: Final = -1e9
"""Lower bound on skill where nothing was measured: below anything measured, and finite, as JSON has to be."""


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """Cards in the order of their keys, with parallel arrays of what the filters and scorers ask of them.

    `version` is an offset of `hub.models`, `evidence_cursor` the position evidence was folded to. Where
    `entitlements` are given, a tier may use the models named for it and no others.
    """

    version: int
    evidence_cursor: int
    cards: tuple[ModelCard, ...]
    keys: tuple[str, ...]
    entitlements: Mapping[str, frozenset[str]] | None
    live: Mask
    max_rows: Integers
    bar_ms: Integers
    horizon_ms: Integers
    cost: Floats
    coverage: Mapping[str, Floats]
    skill: Mapping[str, Floats]

    @classmethod
    def of(
        cls,
        cards: Iterable[ModelCard],
        *,
        version: int,
        evidence_cursor: int = -1,
        entitlements: Mapping[str, frozenset[str]] | None = None,
    ) -> Catalogue:
        """Compile cards; a key that occurs twice counts with its last card."""
        ordered = tuple(card for _, card in sorted({str(card.key): card for card in cards}.items()))
        measured = {POOLED} | {evidence.instrument for card in ordered for evidence in card.evidence}
        return cls(
            version=version,
            evidence_cursor=evidence_cursor,
            cards=ordered,
            keys=tuple(str(card.key) for card in ordered),
            entitlements=entitlements,
            live=np.array([card.status is ModelStatus.LIVE for card in ordered], dtype=bool),
            max_rows=_integers(card.max_size.max_rows for card in ordered),
            bar_ms=_integers(card.contract.bar_ms for card in ordered),
            horizon_ms=_integers(card.contract.horizon_ms for card in ordered),
            cost=np.array([card.cost for card in ordered], dtype=float),
            coverage={name: _coverage(ordered, name) for name in measured},
            skill={name: _skill(ordered, name) for name in measured},
        )

    def __len__(self) -> int:
        return len(self.cards)

    def coverage_lower(self, instruments: Sequence[str]) -> Floats:
        """Lower bound on interval coverage for the worst of the instruments: shape (models, levels)."""
        return reduce(np.minimum, self._per_instrument(self.coverage, instruments))

    def skill_lower(self, instruments: Sequence[str]) -> Floats:
        """Lower bound on skill for the worst of the instruments."""
        return reduce(np.minimum, self._per_instrument(self.skill, instruments))

    def answer_level(self, instruments: Sequence[str], min_accuracy: float | None) -> Integers:
        """Index of the level a model answers with: the narrowest whose coverage bound clears the requirement.

        -1 where none does; that of ANY_LEVEL where nothing is required.
        """
        if min_accuracy is None:
            return np.full(len(self.cards), INTERVAL_LEVELS.index(ANY_LEVEL))
        clears = self.coverage_lower(instruments) >= min_accuracy
        return np.where(clears.any(axis=1), clears.argmax(axis=1), -1)

    @staticmethod
    def _per_instrument(table: Mapping[str, Floats], instruments: Sequence[str]) -> list[Floats]:
        return [table.get(name, table[POOLED]) for name in instruments or (POOLED,)]


def _integers(values: Iterable[int]) -> Integers:
    return np.array(list(values), dtype=np.int64)


def _evidence(card: ModelCard, instrument: str) -> Evidence | None:
    """Evidence of the instrument, else the pooled one, else none: a card without must not break a choice."""
    found = {item.instrument: item for item in card.evidence}
    return found.get(instrument) or found.get(POOLED)


def _coverage(cards: Sequence[ModelCard], instrument: str) -> Floats:
    table = np.full((len(cards), len(INTERVAL_LEVELS)), NO_BOUND)
    for row, card in enumerate(cards):
        evidence = _evidence(card, instrument)
        for column, level in enumerate(INTERVAL_LEVELS):
            if evidence and (bound := evidence.coverage.get(f"{level:.2f}")):
                table[row, column] = bound.lower
    return table


def _skill(cards: Sequence[ModelCard], instrument: str) -> Floats:
    found = (_evidence(card, instrument) for card in cards)
    return np.array([evidence.skill.lower if evidence else NO_SKILL for evidence in found], dtype=float)
