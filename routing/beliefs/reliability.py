"""Whether promises are kept, and what has to be promised so that they are.

A promise is the share of past completions that were in time. Where the choice goes to what looks best, and
load changes between the past and the next call, that share is off in ways that can be measured: for each call
the share of past completions that were quicker is noted (the probability integral transform, Dawid 1984;
uniform if promises are right). Its distribution function maps what would be promised to what is kept.
"""

from __future__ import annotations

from typing import Any, Final

_BINS: Final = 40
_PRIOR: Final = 200.0
"""How many calls' weight the assumption has that promises are right as they are."""
_MEMORY: Final = 2000.0
"""About how many calls are remembered."""
_GROWTH: Final = 1.0 / (1.0 - 1.0 / _MEMORY)
_LARGE: Final = 1e9


class Reliability:
    """The kept share by the share promised. Immutable; an observation gives a new one.

    Instead of all former calls fading, each call `counts` more than the one before.
    """

    __slots__ = ("_counts", "_total", "_weights")

    def __init__(
        self, weights: tuple[float, ...] = (_PRIOR / _BINS,) * _BINS, *, counts: float = 1.0
    ) -> None:
        self._weights = weights
        self._counts = counts
        self._total = sum(weights[::-1])  # in the order of `kept`, which so ends at 0 exactly

    def kept(self, promised: float) -> float:
        """What is kept of promises like this one; linear within a bin."""
        weights, place = self._weights, min(max(promised, 0.0), 1.0) * _BINS
        whole = min(_BINS - 1, int(place))
        above = (whole + 1 - place) * weights[whole] + sum(weights[:whole:-1])  # most promises are high
        return 1.0 - above / self._total

    def seen(self, quicker: float, *, ended: bool) -> Reliability:
        """One more call: the share of past completions that were quicker. Of one that was given up only the
        least it can be is known: it counts for those beyond as they have come so far.
        """
        first = min(_BINS - 1, int(quicker * _BINS))
        counts, weights = self._counts * _GROWTH, list(self._weights)
        if ended:
            weights[first] += counts
        else:
            share = 1.0 + counts / sum(weights[first:])
            weights[first:] = [weight * share for weight in weights[first:]]
        if counts > _LARGE:
            counts, weights = 1.0, [weight / counts for weight in weights]
        return Reliability(tuple(weights), counts=counts)

    def export(self) -> dict[str, Any]:
        """The state as JSON can hold it."""
        return {"weights": list(self._weights), "counts": self._counts}

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Reliability:
        """The one exported."""
        return cls(tuple(state["weights"]), counts=state["counts"])


RIGHT: Final = Reliability()
"""Promises are kept as they are made; what is assumed at first."""
