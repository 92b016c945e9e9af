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

from models.card import POOLED, ModelCard, ModelStatus
from models.evidence import ModelEvidence
from models.task import INTERVAL_LEVELS
from routing.evidence.known import Known, known_of
from routing.latency import Floats

Mask = NDArray[np.bool_]
Integers = NDArray[np.int64]

ANY_LEVEL: Final = 0.90
"""Interval level of the answer when no accuracy was asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """Cards in the order of their keys, with parallel arrays of what the filters and scorers ask of them.

    `version` is an offset of `hub.models`, `evidence_cursor` one of `hub.outcomes`: what was folded up to
    there is in `evidence`, by `name@version`. Where `entitlements` are given, a tier may use the models named
    for it and no others.
    """

    version: int
    evidence_cursor: int
    cards: tuple[ModelCard, ...]
    evidence: Mapping[str, ModelEvidence]
    keys: tuple[str, ...]
    index: Mapping[str, int]
    entitlements: Mapping[str, frozenset[str]] | None
    live: Mask
    canary: Mask
    max_rows: Integers
    bar_ms: Integers
    horizon_ms: Integers
    cost: Floats
    coverage: Mapping[str, Floats]
    skill: Mapping[str, Floats]
    known: Mapping[str, Known]

    @classmethod
    def of(
        cls,
        cards: Iterable[ModelCard],
        *,
        version: int,
        evidence: Mapping[str, ModelEvidence] | None = None,
        entitlements: Mapping[str, frozenset[str]] | None = None,
        before: Catalogue | None = None,
    ) -> Catalogue:
        """Compile cards and evidence; a key that occurs twice counts with its last card.

        What `before` has of a model is taken from there, if its card and evidence are the same objects.
        """
        by_key = dict(sorted({str(card.key): card for card in cards}.items()))
        ordered, keys = tuple(by_key.values()), tuple(by_key)
        live = {key: evidence[key] for key in keys if key in evidence} if evidence else {}
        old = before.known if before else {}
        known = {key: known_of(card, live.get(key), old.get(key)) for key, card in by_key.items()}
        measured = {POOLED}.union(*(one.instruments for one in known.values()))
        rows = {name: [one.bounds(name) for one in known.values()] for name in measured}
        return cls(
            version=version,
            evidence_cursor=max((item.cursor for item in live.values()), default=-1),
            cards=ordered,
            evidence=live,
            keys=keys,
            index={key: row for row, key in enumerate(keys)},
            entitlements=entitlements,
            live=np.array([card.status is ModelStatus.LIVE for card in ordered], dtype=bool),
            canary=np.array([card.status is ModelStatus.CANARY for card in ordered], dtype=bool),
            max_rows=_integers(card.max_size.max_rows for card in ordered),
            bar_ms=_integers(card.contract.bar_ms for card in ordered),
            horizon_ms=_integers(card.contract.horizon_ms for card in ordered),
            cost=np.array([card.cost for card in ordered], dtype=float),
            coverage={name: _table([coverage for coverage, _ in some]) for name, some in rows.items()},
            skill={name: np.array([skill for _, skill in some], dtype=float) for name, some in rows.items()},
            known=known,
        )

    def __len__(self) -> int:
        return len(self.cards)

    def card(self, model: str) -> ModelCard | None:
        """The card of `name@version`; None if it is not in the catalogue."""
        row = self.index.get(model)
        return None if row is None else self.cards[row]

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


def _table(rows: Sequence[Sequence[float]]) -> Floats:
    return np.array(rows, dtype=float).reshape(len(rows), len(INTERVAL_LEVELS))
