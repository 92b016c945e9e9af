"""Whether promises are kept, and what has to be promised so that they are.

A promise is the share of past completions that were in time. Where the choice goes to what looks best, and
load changes between the past and the next call, that share is off in ways that can be measured: for each call
the share of past completions that were quicker is noted (the probability integral transform, Dawid 1984;
uniform if promises are right). Its distribution function maps what would be promised to what is kept.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Final

_BINS: Final = 40
_PRIOR: Final = 200.0
"""How many calls' weight the assumption has that promises are right as they are."""
_MEMORY: Final = 2000.0
"""About how many calls are remembered."""


class Reliability:
    """The kept share by the share promised. Immutable; an observation gives a new one."""

    __slots__ = ("_below", "_weights")

    def __init__(self, weights: tuple[float, ...] = (_PRIOR / _BINS,) * _BINS) -> None:
        self._weights = weights
        self._below = (0.0, *accumulate(weights))

    def kept(self, promised: float) -> float:
        """What is kept of promises like this one; linear within a bin."""
        place = min(max(promised, 0.0), 1.0) * _BINS
        whole = min(_BINS - 1, int(place))
        below = self._below[whole] + (place - whole) * self._weights[whole]
        return below / self._below[-1]

    def seen(self, quicker: float, *, ended: bool) -> Reliability:
        """One more call: the share of past completions that were quicker. Of one that was given up only the
        least it can be is known: it counts for those beyond as they have come so far.
        """
        first = min(_BINS - 1, int(quicker * _BINS))
        left = 1.0 - 1.0 / _MEMORY
        weights = [weight * left for weight in self._weights]
        if ended:
            weights[first] += 1.0
        else:
            beyond = sum(weights[first:])
            weights[first:] = [weight * (1.0 + 1.0 / beyond) for weight in weights[first:]]
        return Reliability(tuple(weights))

    def export(self) -> list[float]:
        """The state as JSON can hold it."""
        return list(self._weights)


RIGHT: Final = Reliability()
"""Promises are kept as they are made; what is assumed at first."""
