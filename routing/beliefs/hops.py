"""The way to a pool's replicas and back, as this process measures it: what no replica accounted for."""

from __future__ import annotations

from typing import Any, Final

from models.base import Frozen
from models.bounds import Gain, NotNegative, Positive
from routing.latency import faded

_LONGEST: Final = 3.0
_PAUSE_MS: Final = 10.0
"""A way may take so many times as long as usual and so much more; what is beyond is something else."""


class HopConfig(Frozen):
    """What the way takes until it is measured, to another process and within this one; and how fast a
    measurement counts and is forgotten.
    """

    remote_ms: NotNegative = 2.0
    local_ms: NotNegative = 0.05
    gain: Gain = 0.1
    tau_ms: Positive = 30_000.0


class Hops:
    """One number per pool, relaxing to the configured one. Times are wall milliseconds."""

    def __init__(self, config: HopConfig) -> None:
        self._config = config
        self._pools: dict[str, tuple[float, float, float]] = {}

    def known(self, pool: str, *, local: bool) -> None:
        """There is such a pool."""
        usual = self._config.local_ms if local else self._config.remote_ms
        self._pools.setdefault(pool, (usual, usual, 0.0))

    def at(self, now_ms: float) -> dict[str, float]:
        """The way to each pool by now."""
        return {pool: self._relaxed(pool, now_ms) for pool in self._pools}

    def observe(self, pool: str, hop_ms: float, now_ms: float) -> float:
        """Take one way there and back; returns what of it no way explains, because the replica was stopped.

        Charged to the pool, one replica that stalls would make all its neighbours look far away.
        """
        usual, _, _ = self._pools[pool]
        before = self._relaxed(pool, now_ms)
        longest_ms = _LONGEST * before + _PAUSE_MS
        taken_ms = min(hop_ms, longest_ms)
        self._pools[pool] = usual, before + (taken_ms - before) * self._config.gain, now_ms
        return hop_ms - taken_ms

    def _relaxed(self, pool: str, now_ms: float) -> float:
        usual, value, seen_ms = self._pools[pool]
        return usual + (value - usual) * faded(now_ms - seen_ms, self._config.tau_ms)

    def export(self) -> dict[str, Any]:
        """The state as JSON can hold it."""
        return {pool: list(hop) for pool, hop in self._pools.items()}

    def restore(self, state: dict[str, Any]) -> None:
        self._pools = {pool: (usual, value, ms) for pool, (usual, value, ms) in state.items()}
