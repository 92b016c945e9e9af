"""How much each member of an ensemble counts: the inverse of its interval loss.

A member's loss is what live outcomes say, else what its card does. A card's loss is of another period, which
may have been calmer: it is brought to the present by how the losses have changed of those members that have
both. A loss that is no positive number says nothing, and who has none has no weight.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from models.card import MOST_MEMBERS, POOLED, Evidence, ModelCard
from models.evidence import LiveEvidence

Losses = Mapping[str, float]
"""Mean interval losses in basis points, by `name@version`."""


def weights_of(members: Iterable[ModelCard], seen: Mapping[str, Sequence[LiveEvidence]]) -> dict[str, float]:
    """Weights that add up to 1, by `name@version`; none if nothing was measured of any member.

    `seen` is live evidence by `name@version`. Of more than `MOST_MEMBERS` the best are kept.
    """
    cards = {str(card.key): card for card in members}
    live = _pooled({name: seen.get(name, ()) for name in cards})
    known = _pooled({name: card.evidence for name, card in cards.items()})
    return inverse(losses_of(live, known))


def losses_of(live: Losses, known: Losses) -> dict[str, float]:
    """Live losses, and those of cards at the present level for members that have no others."""
    changes = [math.log(live[name]) - math.log(known[name]) for name in live if name in known]
    change = math.exp(fmean(changes)) if changes else 1.0
    return {name: loss * change for name, loss in known.items()} | dict(live)


def inverse(losses: Losses) -> dict[str, float]:
    """Weights in proportion to 1 / loss; of more than `MOST_MEMBERS` members those with the least loss."""
    best = sorted((loss, name) for name, loss in losses.items() if _is_a_loss(loss))[:MOST_MEMBERS]
    if not best:
        return {}
    least = best[0][0]
    total = math.fsum(least / loss for loss, _ in best)  # relative to the least, so that nothing overflows
    found = {name: least / loss / total for loss, name in best}
    return {name: weight for name, weight in sorted(found.items()) if weight > 0.0}


def _pooled(evidence: Mapping[str, Sequence[Evidence | LiveEvidence]]) -> dict[str, float]:
    found = {
        name: item.interval_score.value
        for name, items in evidence.items()
        for item in items
        if item.instrument == POOLED
    }
    return {name: loss for name, loss in found.items() if _is_a_loss(loss)}


def _is_a_loss(value: float) -> bool:
    return 0.0 < value < math.inf
