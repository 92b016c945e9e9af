"""What is believed of one replica: its queue, its pace, its errors, its age, and what follows for a call.

*Slowdown* is what the replica makes of a model's service time now: its pace, times what its queue adds,
max(1, (calls + 1) / slots). Written under the load table's lock only.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from models.base import Frozen
from models.bounds import Gain, Positive
from routing.beliefs.gate import ErrorGate, GateConfig
from routing.beliefs.pace import Pace, PaceConfig
from routing.beliefs.placement import ReplicaMeta
from routing.beliefs.queue import Queue
from routing.beliefs.speeds import depth_of


class ReplicaConfig(Frozen):
    """`slow_start_ms` is how long a replica that joins others is spared, `least_share` what it starts with.

    A call of ours that is out for more than `overdue` times what was expected counts as the measurement that
    it will at least become.
    """

    queue_tau_ms: Positive = 300.0
    slow_start_ms: Positive = 2000.0
    least_share: Gain = 0.2
    overdue: Positive = 8.0


class Standing(NamedTuple):
    """One replica at one moment. A choice between replicas goes by `rank`, a promise by `slowdown`.

    `rank` is the slowdown, raised while the replica is new among others; `depth` the class of the queue that
    a call would find. `doubtful`: it may be asked although it is believed too slow.
    """

    calls: float
    slowdown: float
    rank: float
    depth: int
    doubtful: bool = False


class ReplicaBelief:
    """Everything believed of one replica. Times are wall milliseconds."""

    def __init__(
        self,
        meta: ReplicaMeta,
        config: ReplicaConfig,
        *,
        pace: PaceConfig,
        gate: GateConfig,
        middle: float,
        now_ms: float,
    ) -> None:
        self.meta = meta
        self.kind = meta.pool, meta.hardware
        self.queue = Queue(meta.slots, tau_ms=config.queue_tau_ms)
        self.pace = Pace(pace, middle=middle)
        self.gate = ErrorGate(gate)
        self.since_ms = now_ms
        self._config = config
        self._out: dict[int, tuple[float, float]] = {}

    def standing(
        self, now_ms: float, *, middle: float, usual: float, joined: bool, doubtful: bool
    ) -> Standing:
        """How the replica stands; `joined` if it came to others that were there before it, `doubtful` if it
        is time to learn of its pool.
        """
        queue = self.queue
        calls = queue.own + queue.foreign(now_ms, usual)
        per_slot = (calls + 1.0) / queue.slots
        slowdown = self._pace_now(now_ms, middle) * (max(1.0, per_slot))
        if self._out:
            slowdown *= self._overdue(now_ms)
        rank = slowdown
        if joined:
            rank /= self._share(now_ms)
        return Standing(calls, slowdown, rank, depth_of(per_slot), doubtful and not queue.own)

    def sent(self, number: int, now_ms: float, expected_ms: float) -> None:
        """A call of ours is on its way."""
        self.queue.add_own(+1)
        self._out[number] = (now_ms, expected_ms)

    def ended(self, number: int) -> None:
        """A call of ours has ended, however it did."""
        self.queue.add_own(-1)
        self._out.pop(number, None)

    def _overdue(self, now_ms: float) -> float:
        """By how much the oldest call that is out shows, before it ends, that the replica is slower."""
        sent_ms, expected_ms = next(iter(self._out.values()))
        return max(1.0, (now_ms - sent_ms) / expected_ms - self._config.overdue)

    def _pace_now(self, now_ms: float, middle: float) -> float:
        """The pace: as last measured while a call that will tell is out, relaxed while there is none."""
        pace = self.pace
        return pace.at_least_last(now_ms, middle) if self.queue.own else pace.at(now_ms, middle)

    def _share(self, now_ms: float) -> float:
        config = self._config
        return min(1.0, max(config.least_share, (now_ms - self.since_ms) / config.slow_start_ms))

    def export(self) -> dict[str, Any]:
        """The state as JSON can hold it."""
        return {
            "queue": self.queue.export(),
            "pace": self.pace.export(),
            "gate": self.gate.export(),
            "since_ms": self.since_ms,
            "out": [[number, *out] for number, out in self._out.items()],
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.queue.restore(state["queue"])
        self.pace.restore(state["pace"])
        self.gate.restore(state["gate"])
        self.since_ms = state["since_ms"]
        self._out = {number: (sent_ms, expected_ms) for number, sent_ms, expected_ms in state["out"]}
