"""Whether a consumer stands still although its partitions go on, told from positions and ends alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

P = TypeVar("P")


class Progress(Generic[P]):
    """A partition is stuck if its position has stayed below its end for `patience_s`, in every look.

    One look is not enough: a record may have landed since the last fetch.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._behind: dict[P, tuple[int, float]] = {}

    def look(self, positions: Mapping[P, int], ends: Mapping[P, int], now_s: float) -> frozenset[P]:
        """The stuck ones of these partitions; others are forgotten."""
        behind = {place: position for place, position in positions.items() if ends.get(place, 0) > position}
        self._behind = {
            place: (
                position,
                since[1] if (since := self._behind.get(place)) and since[0] == position else now_s,
            )
            for place, position in behind.items()
        }
        return frozenset(
            place for place, (_, since_s) in self._behind.items() if now_s - since_s >= self._patience_s
        )
