"""What is held against a requirement: live evidence where there is enough of it, else what was known before.

A lower bound is moved from what the card says towards the live pooled one, and from there towards the
instrument's own, each by the live one's weight. Every mean of two lower bounds on one quantity is a lower
bound, so nothing is promised that neither of them promises.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from models.card import POOLED, Bounded, Evidence, ModelCard
from models.evidence import LiveEvidence, ModelEvidence
from models.task import INTERVAL_LEVELS

_ENOUGH: Final = 0.5
"""Weight from which on live evidence speaks for a model of which nothing was known before."""


def coverage_bounds(card: ModelCard, live: ModelEvidence | None, instrument: str) -> list[float | None]:
    """Lower bound on coverage at each level; None where nothing was measured."""
    return [_bound(card, live, instrument, partial(_at, f"{level:.2f}")) for level in INTERVAL_LEVELS]


def skill_bound(card: ModelCard, live: ModelEvidence | None, instrument: str) -> float | None:
    """Lower bound on skill; None where nothing was measured."""
    return _bound(card, live, instrument, lambda found: found.skill)


def _bound(
    card: ModelCard,
    live: ModelEvidence | None,
    instrument: str,
    measure: Callable[[Evidence | LiveEvidence], Bounded | None],
) -> float | None:
    known = _known_before(card, instrument)
    before = measure(known) if known else None
    lower = before.lower if before else None
    for seen in _seen_live(live, instrument):
        lower = _moved(lower, measure(seen), seen.weight)
    return lower


def _at(level: str, found: Evidence | LiveEvidence) -> Bounded | None:
    return found.coverage.get(level)


def _known_before(card: ModelCard, instrument: str) -> Evidence | None:
    """What the card says of the instrument, else of all: a card without must not break a choice."""
    found = {item.instrument: item for item in card.evidence}
    return found.get(instrument) or found.get(POOLED)


def _seen_live(live: ModelEvidence | None, instrument: str) -> list[LiveEvidence]:
    names = dict.fromkeys((POOLED, instrument))
    return [found for name in names if live and (found := live.on(name))]


def _moved(lower: float | None, live: Bounded | None, weight: float) -> float | None:
    if live is None:
        return lower
    if lower is None:
        return live.lower if weight >= _ENOUGH else None
    return lower + weight * (live.lower - lower)
