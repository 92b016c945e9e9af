"""How long an append may take before the broker counts as silent, and how many come back. Pure."""

from __future__ import annotations

from typing import Final

_WEIGHT: Final = 1 / 8
_FIRST_S: Final = 0.1
_SHORTEST_S: Final = 0.5
_SILENCE_S: Final = 3.0
_SILENT_TRIPS: Final = 10
_SLOW_TRIPS: Final = 3
_SPAN_S: Final = 5.0


class RoundTrip:
    """The usual time of an append, and the bounds that follow from it."""

    def __init__(self) -> None:
        self._usual_s = _FIRST_S

    def took(self, seconds: float) -> None:
        """An append was answered after so long."""
        self._usual_s += _WEIGHT * (seconds - self._usual_s)

    def bound_s(self, wanted_s: float) -> float:
        """When to give an append up whose last caller waits for `wanted_s`.

        Never so early that a slow answer is taken for a dead broker, because giving up costs everybody in
        flight the outcome; and after ten round trips of silence in any case.
        """
        shortest = max(_SHORTEST_S, _SLOW_TRIPS * self._usual_s)
        return min(max(wanted_s, shortest), self.silence_s)

    @property
    def silence_s(self) -> float:
        """No answer for so long means that none will come."""
        return max(_SILENCE_S, _SILENT_TRIPS * self._usual_s)


class AckRate:
    """Acknowledged records per second over the last whole span of five seconds."""

    def __init__(self, now_s: float) -> None:
        self._begun_s = now_s
        self._counted = 0
        self._last = 0.0

    def add(self, count: int, now_s: float) -> None:
        self._turn(now_s)
        self._counted += count

    def per_s(self, now_s: float) -> float:
        """Of the last span, or of the first one so far."""
        self._turn(now_s)
        return self._last

    def _turn(self, now_s: float) -> None:
        spans = int((now_s - self._begun_s) / _SPAN_S)
        if spans:
            self._last = self._counted / _SPAN_S if spans == 1 else 0.0
            self._counted = 0
            self._begun_s += spans * _SPAN_S
