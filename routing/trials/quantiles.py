"""Quantiles of positive numbers, within 1 % of a number that was seen, of any parts put together.

DDSketch (Masson, Rim and Lee, VLDB 2019): bin k counts the numbers in (gamma^(k-1), gamma^k], and the value
that stands for a bin is off by at most (gamma - 1) / (gamma + 1) of any number in it. Only bins that hold
something are kept: most sketches are of few numbers, and these cost little to keep and to put together.
"""

from __future__ import annotations

from math import ceil, log
from typing import Final

ACCURACY: Final = 0.01
LEAST: Final = 1e-6
"""Anything smaller, zero and negative numbers included, counts as this."""
_GAMMA: Final = (1 + ACCURACY) / (1 - ACCURACY)
_BINS_PER_E: Final = 1 / log(_GAMMA)


class Quantiles:
    """Takes finite numbers. Belongs to one event loop."""

    __slots__ = ("_bins",)

    def __init__(self) -> None:
        self._bins: dict[int, int] = {}

    def add(self, number: float) -> None:
        """Count one number."""
        place = ceil(log(max(number, LEAST)) * _BINS_PER_E)
        self._bins[place] = self._bins.get(place, 0) + 1

    def merge(self, other: Quantiles) -> None:
        """Count the numbers of the other, too."""
        bins = self._bins
        for place, count in other._bins.items():
            bins[place] = bins.get(place, 0) + count

    def at(self, *shares: float) -> tuple[float | None, ...]:
        """The quantile at each share; shares rise, from 0 to 1. None for each if there are no numbers."""
        found: list[float | None] = []
        last, left = sum(self._bins.values()) - 1, iter(sorted(self._bins))
        seen, place = 0, 0
        for share in shares:
            while last >= 0 and seen <= share * last:
                place = next(left)
                seen += self._bins[place]
            found.append(_value(place) if last >= 0 else None)
        return tuple(found)


def _value(place: int) -> float:
    return 2 * _GAMMA**place / (_GAMMA + 1)
