"""What this process believes of every replica, and the snapshot of it that a decision is made on.

Who writes: Serve's router thread says which replicas there are (`replicas_updated`, `unreachable`); the
routed client says what it sent and what became of it (`sent`, `finished`). Several of either may exist, so
every method takes the one lock. Who reads: each decision takes a `snapshot`, which nobody changes afterwards.

Freshness costs no call: own sends and completions are counted here, everything else rides on replies. Beliefs
fade in steps of one millisecond, so that decisions within a step share the work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock
from typing import Final, NamedTuple

from models.base import Frozen
from models.decision import Decision
from models.forecast import LoadReport
from routing.gate import Ejection, ErrorGate, GateConfig
from routing.latency import Floats, Spread, faded
from routing.placement import Placement, ReplicaMeta, size_of
from routing.queues import Queues
from routing.speeds import Observation, SpeedConfig, Speeds

__all__ = ["Flight", "LoadConfig", "LoadSnapshot", "LoadTable", "Outcome", "ReplicaMeta"]

_STEP_NS: Final = 1_000_000
_LONGEST_MS: Final = 600_000.0
"""A service time beyond ten minutes is no measurement."""


class Outcome(StrEnum):
    """What became of a call. Only `failed`, `timeout` and `lost` speak against the replica."""

    OK = "ok"
    REFUSED = "refused"
    FAILED = "failed"
    TIMEOUT = "timeout"
    LOST = "lost"
    CANCELLED = "cancelled"


_AGAINST_REPLICA: Final = frozenset({Outcome.FAILED, Outcome.TIMEOUT, Outcome.LOST})


class LoadConfig(Frozen):
    """Time constants of belief. `hop_ms` is the way to a replica and back until it is measured."""

    speed: SpeedConfig = SpeedConfig()
    gate: GateConfig = GateConfig()
    queue_tau_ms: float = 1000.0
    hop_ms: float = 2.0
    hop_gain: float = 0.1


@dataclass(slots=True)
class Flight:
    """One call on its way: handed out by `sent`, brought back to `finished`; only the first time counts."""

    replica: str
    model: str
    size: int
    expected_ms: float
    budget_ms: float
    landed: bool = False


class LoadSnapshot(NamedTuple):
    """Beliefs at one moment, numbered by `placement`: `calls` and `delay` per replica, `service_ms` and
    `tail` per (size, cell), `spreads` per group and size. `hop_ms` is added to every completion.
    """

    placement: Placement
    calls: Floats
    delay: Floats
    service_ms: Floats
    tail: Floats
    spreads: Sequence[Sequence[Spread]]
    hop_ms: float
    ejections: Mapping[int, Ejection]
    config: LoadConfig


class LoadTable:
    """The beliefs of one process. Every public method may be called from any thread."""

    def __init__(self, config: LoadConfig | None = None) -> None:
        self._config = config or LoadConfig()
        self._lock = Lock()
        self._metas: dict[str, ReplicaMeta] = {}
        self._gates: dict[str, ErrorGate] = {}
        self._step = 0
        self._hop = _Hop(self._config)
        self._placement = Placement.of({})
        self._queues = Queues(self._placement, tau_ms=self._config.queue_tau_ms, now_ms=0)
        self._speeds = Speeds(self._placement, self._config.speed, now_ms=0)
        self._ejections: Mapping[int, Ejection] = {}
        self._snapshot: LoadSnapshot | None = None

    def replicas_updated(self, pool: str, replicas: Sequence[tuple[str, ReplicaMeta]]) -> None:
        """A pool consists of exactly these replicas now. What is known of those that stay is kept."""
        with self._lock:
            others = {name: meta for name, meta in self._metas.items() if meta.pool != pool}
            metas = others | dict(replicas)
            if metas != self._metas:
                self._place(metas)

    def replicas(self, pool: str) -> tuple[str, ...]:
        """Ids of the replicas a pool has."""
        with self._lock:
            return tuple(sorted(name for name, meta in self._metas.items() if meta.pool == pool))

    def sent(self, decision: Decision, *, rows: int) -> Flight:
        """Count a call as on its way to the chosen replica, right after the decision."""
        promise = decision.promise
        flight = Flight(
            decision.replica, str(decision.chosen), size_of(rows), promise.expected_ms, decision.budget_ms
        )
        with self._lock:
            self._count(flight.replica, +1)
        return flight

    def finished(
        self,
        flight: Flight,
        *,
        outcome: Outcome,
        elapsed_ms: float,
        now_ns: int,
        report: LoadReport | None = None,
    ) -> None:
        """Learn from a call that ended, however it ended; `elapsed_ms` is the caller's own, from send to end.

        A failure counts as a call that took all of its deadline. Absurd numbers teach nothing.
        """
        with self._lock:
            if flight.landed:
                return
            flight.landed = True
            self._count(flight.replica, -1)
            if flight.replica in self._placement.index:
                self._advance(now_ns)
                self._hear(flight, outcome, report)
                self._judge(flight.replica, outcome, now_ns)
                self._learn(flight, outcome, elapsed_ms, report)

    def unreachable(self, replica: str, *, now_ns: int) -> None:
        """Take a replica out of the choice for a while: it is listed, but does not answer."""
        with self._lock:
            if replica in self._gates:
                self._gates[replica].unreachable(now_ns)
                self._eject()

    def snapshot(self, now_ns: int) -> LoadSnapshot:
        """Beliefs as of the current millisecond; the same object until something changes."""
        with self._lock:
            self._advance(now_ns)
            if self._snapshot is None:
                self._snapshot = self._frozen()
            return self._snapshot

    def _frozen(self) -> LoadSnapshot:
        return LoadSnapshot(
            self._placement,
            self._queues.calls,
            self._queues.delay,
            self._speeds.service_ms,
            self._speeds.tail,
            self._speeds.spreads,
            self._hop.ms,
            self._ejections,
            self._config,
        )

    def _advance(self, now_ns: int) -> None:
        """Fade every belief to the current step. After a clock that went back, ages count from zero."""
        step = now_ns // _STEP_NS
        if step != self._step:
            self._step = step
            self._queues.settle(step)
            self._speeds.settle(step)
            self._hop.settle(step)
            self._snapshot = None

    def _place(self, metas: dict[str, ReplicaMeta]) -> None:
        self._metas = metas
        self._placement = Placement.of(metas)
        self._queues = self._queues.moved_to(self._placement)
        self._speeds = self._speeds.moved_to(self._placement)
        self._gates = {name: self._gates.get(name) or ErrorGate(self._config.gate) for name in metas}
        self._eject()

    def _eject(self) -> None:
        """Publish the ejections anew; whoever compiled candidates with the old ones sees another object."""
        self._ejections = {
            number: ejection
            for number, name in enumerate(self._placement.replicas)
            if (ejection := self._gates[name].ejection)
        }
        self._snapshot = None

    def _count(self, replica: str, change: int) -> None:
        number = self._placement.index.get(replica)
        if number is not None:
            self._queues.add_own(number, change)
            self._snapshot = None

    def _hear(self, flight: Flight, outcome: Outcome, report: LoadReport | None) -> None:
        number = self._placement.index[flight.replica]
        if report is not None and report.replica == flight.replica:
            self._queues.hear(number, report)
        elif outcome is Outcome.REFUSED:
            self._queues.assume_full(number)

    def _judge(self, replica: str, outcome: Outcome, now_ns: int) -> None:
        gate = self._gates[replica]
        if outcome is Outcome.OK:
            changed = gate.succeeded()
        elif outcome is Outcome.LOST:
            gate.failed(now_ns)
            gate.unreachable(now_ns)
            changed = True
        else:
            changed = outcome in _AGAINST_REPLICA and gate.failed(now_ns)
        if changed:
            self._eject()

    def _learn(self, flight: Flight, outcome: Outcome, elapsed_ms: float, report: LoadReport | None) -> None:
        cell = self._placement.cells.get((flight.replica, flight.model))
        if cell is None or not _measurable(elapsed_ms):
            return
        if outcome in _AGAINST_REPLICA:
            cost_ms = min(max(elapsed_ms, flight.budget_ms), _LONGEST_MS)
            self._speeds.observe(flight.size, cell, Observation(cost_ms, None))
        elif outcome is Outcome.OK and report is not None and _measurable(report.service_ms):
            ratio = elapsed_ms / flight.expected_ms
            self._speeds.observe(flight.size, cell, Observation(report.service_ms, ratio))
            self._hop.observe(elapsed_ms - report.queue_ms - report.service_ms)


class _Hop:
    """The way to a replica and back as this process measures it, relaxing to the configured one."""

    def __init__(self, config: LoadConfig) -> None:
        self._config = config
        self._now_ms = 0
        self.ms = config.hop_ms

    def settle(self, now_ms: int) -> None:
        left = faded(now_ms - self._now_ms, self._config.speed.settle_tau_ms)
        self.ms = self._config.hop_ms + (self.ms - self._config.hop_ms) * left
        self._now_ms = now_ms

    def observe(self, hop_ms: float) -> None:
        if _measurable(hop_ms):
            self.ms += (hop_ms - self.ms) * self._config.hop_gain


def _measurable(ms: float) -> bool:
    return 0.0 < ms <= _LONGEST_MS
