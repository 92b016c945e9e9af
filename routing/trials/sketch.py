"""What a replica knows of its own speed from the calls of all callers: a sketch that rides on its replies.

A caller that is new, or one of many, has measured little of its own; what the replica measured stands in for
that until the caller knows more surely.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from routing.latency import faded

TAU_MS: Final = 2000.0
"""How fast a replica forgets."""


class Typical(NamedTuple):
    """The mean service time of the calls of one kind, and how many calls' worth of evidence that is."""

    service_ms: float
    calls: float


class ServiceSketch:
    """Faded means by kind of call, such as (model, size). Times are wall milliseconds."""

    def __init__(self) -> None:
        self._kinds: dict[object, tuple[float, float, float]] = {}

    def observe(self, kind: object, service_ms: float, now_ms: float) -> Typical:
        """Take one call into account; returns what is typical of its kind now."""
        total, weight, seen_ms = self._kinds.get(kind, (0.0, 0.0, now_ms))
        left = faded(now_ms - seen_ms, TAU_MS)
        total, weight = total * left + service_ms, weight * left + 1.0
        self._kinds[kind] = total, weight, now_ms
        return Typical(total / weight, weight)
