"""Take the highest score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from routing.latency import Completion, Floats
from routing.plugin import Plugin

SAME: Final = 1e-9
"""Scores closer than this are equal: rounding must not decide."""
_SEEDS: Final = 1 << 53


class BestPicker(Plugin):
    """Highest score; of equal ones the highest in `ties`; of those still equal one at random."""

    type: Literal["best"]

    def pick(self, scores: Floats, ties: Floats | None, _completion: Completion, seed: int) -> int | None:
        highest = scores.item(scores.argmax())
        if highest < 0.0:
            return None
        equal = (scores >= max(0.0, highest - SAME)).nonzero()[0]
        if equal.size == 1:
            return equal.item(0)
        if ties is not None:
            ranks = ties[equal]
            equal = equal[ranks >= ranks.max() - SAME]
        return int(equal[seed * equal.size // _SEEDS])

    def pick_few(self, scores: Sequence[float], ties: Sequence[float] | None, seed: int) -> int | None:
        highest = max(scores)
        if highest < 0.0:
            return None
        least = max(0.0, highest - SAME)
        equal = [index for index, score in enumerate(scores) if score >= least]
        if len(equal) > 1 and ties is not None:
            least = max(ties[index] for index in equal) - SAME
            equal = [index for index in equal if ties[index] >= least]
        return equal[seed * len(equal) // _SEEDS]
