"""How many calls a replica runs at once, where nobody says so: the guess that predicts best is believed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_MEMORY: Final = 200
_AS_GOOD: Final = 1.1


def guesses_up_to(most: int) -> tuple[int, ...]:
    """1, 2, 4, ... and `most`."""
    return tuple(sorted({1 << power for power in range(most.bit_length())} | {most}))


class SlotsGuess:
    """Guesses of the slots of a pool's replicas, and how wrong each was of late.

    As long as several are about equally right the smallest is believed, which spreads calls most.
    """

    def __init__(self, guesses: Sequence[int]) -> None:
        self.guesses = tuple(guesses)
        self.best = 0
        self._errors = [0.0] * len(self.guesses)
        self._seen = 0

    def observe(self, surprises: Sequence[float]) -> None:
        """Take the error of each guess about one answer; none at all if there was no belief."""
        if not surprises:
            return
        self._seen = min(self._seen + 1, _MEMORY)
        self._errors = [
            old + (new - old) / self._seen for old, new in zip(self._errors, surprises, strict=True)
        ]
        bound = min(self._errors) * _AS_GOOD
        self.best = next(number for number, error in enumerate(self._errors) if error <= bound)
