"""Ways to calibrate while outcomes come in: the hub's and its peers'."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Final, Protocol

from models.card import ModelCard
from models.evidence import Levels, Outcome, Recalibration
from models.task import INTERVAL_LEVELS
from routing.evidence.fold import EvidenceFold
from routing.evidence.recalibration import in_force, levels_of
from routing.evidence.rules import EvidenceRules

GAMMA: Final = 0.005
"""Step of adaptive conformal inference, as in the experiments of its paper."""
_LEAST: Final = 1e-12

Cards = Mapping[str, ModelCard]


class Way(Protocol):
    """Says how wide intervals are, and is told what became of them."""

    def levels(self, model: str, symbol: str) -> Levels:
        """The multipliers that a forecast of now is made with."""
        ...

    def take(self, outcome: Outcome) -> None:
        """Learn what became of a moment; forecasts know it after the next `publish`."""
        ...

    def publish(self) -> None:
        """Let forecasts from now on know what was taken."""
        ...


class Hub:
    """The shipped fold, and the shipped rule for the calibration in force."""

    def __init__(self, cards: Cards, rules: EvidenceRules) -> None:
        self._cards = cards
        self._fold = EvidenceFold(rules)
        self._published: dict[str, Recalibration | None] = {}

    def levels(self, model: str, symbol: str) -> Levels:
        card, live = self._cards[model].calibration, self._published.get(model)
        return in_force(card, live, (symbol,), rows=1).rows[0]

    def take(self, outcome: Outcome) -> None:
        self._fold.take(self._fold.cursor + 1, outcome)

    def publish(self) -> None:
        self._published |= {
            found.model: found.calibration for found in self._fold.changed(len(self._fold.models))
        }


class Card:
    """The card's calibration for ever, as a registry answers that does not look at outcomes."""

    def __init__(self, cards: Cards) -> None:
        self._levels = {model: levels_of(card.calibration) for model, card in cards.items()}

    def levels(self, model: str, symbol: str) -> Levels:  # noqa: ARG002 - alike for every instrument
        return self._levels[model]

    def take(self, outcome: Outcome) -> None:
        """Nothing is learned."""

    def publish(self) -> None:
        """Nothing was learned."""


class Adaptive:
    """Adaptive conformal inference (Gibbs and Candes 2021, eq. 2): after each outcome alpha moves by gamma x
    (target - missed), and the multiplier is the quantile at 1 - alpha of the last scores.
    """

    def __init__(self, cards: Cards, rules: EvidenceRules) -> None:
        self._card = Card(cards)
        self._rules = rules
        self._scores: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=rules.window))
        self._alphas: dict[str, list[float]] = defaultdict(lambda: [1.0 - level for level in INTERVAL_LEVELS])
        self._published: dict[str, Levels] = {}

    def levels(self, model: str, symbol: str) -> Levels:
        return self._published.get(model) or self._card.levels(model, symbol)

    def take(self, outcome: Outcome) -> None:
        for trial in outcome.trials:
            self._scores[trial.model].append(trial.score)
            alphas = self._alphas[trial.model]
            for index, level in enumerate(INTERVAL_LEVELS):
                alphas[index] += GAMMA * (1.0 - level - (trial.inside > index))

    def publish(self) -> None:
        for model, scores in self._scores.items():
            if len(scores) >= self._rules.window_least:
                ordered = sorted(scores)
                found = (_quantile(ordered, 1.0 - alpha) for alpha in self._alphas[model])
                self._published[model] = tuple(accumulate(found, max))


def _quantile(ordered: Sequence[float], level: float) -> float:
    """The ceil((n + 1) level)-th smallest, or the last there is on that side."""
    rank = math.ceil((len(ordered) + 1) * level)
    return max(ordered[min(max(rank, 1), len(ordered)) - 1], _LEAST)
