"""What this process believes of every replica, and the snapshot of it that a decision is made on.

Who writes: Serve's router thread says which replicas there are (`replicas_updated`, `unreachable`); the
routed client says what it sent and what became of it (`sent`, `finished`). Several of either may exist, so
every method takes the one lock. Who reads: each decision takes a `snapshot`, which nobody changes afterwards.

Freshness costs no call: own sends and completions are counted here, everything else rides on replies. Beliefs
are a function of the changes told and of the moment asked for; snapshots in between change nothing, so that a
journal of the changes makes them again, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final, NamedTuple

from models.base import Frozen
from models.card import WarmProfile
from models.decision import Decision
from models.forecast import LoadReport
from routing.changes import Change, Finished, Looked, ReplicasUpdated, Sent, Unreachable
from routing.cohorts import CohortBeliefs
from routing.gate import Ejection, GateConfig
from routing.hops import HopConfig, Hops
from routing.latency import SURE, Floats, Spread
from routing.outcome import AGAINST_REPLICA, Outcome
from routing.pace import PaceConfig
from routing.placement import Placement, ReplicaMeta, size_of
from routing.replica import ReplicaBelief, ReplicaConfig, Standing
from routing.speeds import Place, SpeedConfig, Speeds, Spreads

__all__ = ["Flight", "LoadConfig", "LoadSnapshot", "LoadTable", "Outcome", "ReplicaMeta"]

_STEP_MS: Final = 4
"""Beliefs fade in steps, so that decisions within one share the work."""
_LONGEST_MS: Final = 600_000.0
"""A service time beyond ten minutes is no measurement."""
_WORST_RATIO: Final = 1e4


class LoadConfig(Frozen):
    """Time constants of belief. With `forecast` a replica that was not heard of for long is expected to hold
    as many foreign calls as others of its pool; without, none.
    """

    speed: SpeedConfig = SpeedConfig()
    pace: PaceConfig = PaceConfig()
    replica: ReplicaConfig = ReplicaConfig()
    gate: GateConfig = GateConfig()
    hop: HopConfig = HopConfig()
    forecast: bool = True


@dataclass(slots=True)
class Flight:
    """One call on its way: handed out by `sent`, brought back to `finished`; only the first time counts."""

    number: int
    replica: str
    model: str
    size: int
    depth: int
    expected_ms: float
    budget_ms: float
    landed: bool = False


class Ended(NamedTuple):
    """How a call ended; `elapsed_ms` from send to end."""

    outcome: Outcome
    elapsed_ms: float
    now_ms: float
    report: LoadReport | None


class LoadSnapshot(NamedTuple):
    """Beliefs at one moment, numbered by `placement`: `standings` per replica; `service_ms[size]` and
    `tail[size][depth]` per group; `hop_ms` per pool.
    """

    placement: Placement
    standings: Sequence[Standing]
    ranks: Sequence[float]
    service_ms: Sequence[Floats]
    tail: Sequence[Sequence[Floats]]
    spreads: Spreads
    spread_of: Callable[[Place], Spread]
    hop_ms: Mapping[str, float]
    ejections: Mapping[int, Ejection]
    config: LoadConfig

    def spread(self, place: Place) -> Spread:
        """The spread of a place, measured or assumed."""
        return self.spreads.get(place) or self.spread_of(place)


class LoadTable:
    """The beliefs of one process. Every public method may be called from any thread."""

    def __init__(self, config: LoadConfig | None = None) -> None:
        self._config = config or LoadConfig()
        self._lock = Lock()
        self._listener: Callable[[Change], None] | None = None
        self._replicas: dict[str, ReplicaBelief] = {}
        self._placement = Placement.of({})
        self._speeds = Speeds(self._placement, self._config.speed)
        self._cohorts = CohortBeliefs(forecast=self._config.forecast)
        self._hops = Hops(self._config.hop)
        self._founded: dict[str, float] = {}
        self._flights = 0
        self._step = -1
        self._now_ms = 0.0
        self._standings: list[Standing] = []
        self._ejections: Mapping[int, Ejection] = {}
        self._snapshot: LoadSnapshot | None = None

    def journal(self, listener: Callable[[Change], None] | None) -> dict[str, Any]:
        """Tell the listener every change from now on, under the table's lock; returns the state before them.

        None ends the telling.
        """
        with self._lock:
            self._listener = listener
            state = self._export()
            self._restore(state, self._now_ms)  # go on from what is told, or the last bits would differ
            return state

    def replicas_updated(
        self, pool: str, replicas: Sequence[tuple[str, ReplicaMeta]], *, now_ns: int
    ) -> None:
        """A pool consists of exactly these replicas now. What is known of those that stay is kept."""
        with self._lock:
            self._tell(lambda: ReplicasUpdated(pool, tuple(replicas), now_ns))
            before = {name: belief.meta for name, belief in self._replicas.items()}
            others = {name: meta for name, meta in before.items() if meta.pool != pool}
            metas = others | dict(replicas)
            if metas != before:
                self._place(metas, now_ns / 1e6)

    def replicas(self, pool: str) -> tuple[str, ...]:
        """Ids of the replicas a pool has."""
        with self._lock:
            return tuple(sorted(name for name, known in self._replicas.items() if known.meta.pool == pool))

    def spread(self, replica: str, model: str, *, rows: int) -> Spread:
        """How far completions of a model on a replica, as it stands now, lie from what was predicted."""
        with self._lock:
            number = self._placement.index.get(replica)
            group = None if number is None else self._placement.group_of(number, model)
            if number is None or group is None:
                return SURE
            place = (group, size_of(rows), self._standings[number].depth)
            return self._speeds.spreads.get(place) or self._speeds.spread(place)

    def sent(self, decision: Decision, *, rows: int, now_ns: int) -> Flight:
        """Count a call as on its way to the chosen replica, right after the decision."""
        promise = decision.promise
        with self._lock:
            self._flights += 1
            flight = Flight(
                number=self._flights,
                replica=decision.replica,
                model=str(decision.chosen),
                size=size_of(rows),
                depth=0,
                expected_ms=promise.expected_ms,
                budget_ms=decision.budget_ms,
            )
            self._tell(
                lambda: Sent(
                    flight.number,
                    flight.replica,
                    flight.model,
                    rows,
                    flight.expected_ms,
                    flight.budget_ms,
                    now_ns,
                )
            )
            self._depart(flight, now_ns / 1e6)
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
            self._tell(lambda: _finish(flight, outcome, elapsed_ms=elapsed_ms, now_ns=now_ns, report=report))
            known = self._replicas.get(flight.replica)
            if known is None:
                return
            now_ms = now_ns / 1e6
            known.ended(flight.number)
            end = Ended(outcome, elapsed_ms, now_ms, report)
            self._hear(known, flight, end)
            self._judge(known, outcome, now_ns)
            self._learn(known, flight, end)
            self._follow(flight.replica)

    def unreachable(self, replica: str, *, now_ns: int) -> None:
        """Take a replica out of the choice for a while: it is listed, but does not answer."""
        with self._lock:
            self._tell(lambda: Unreachable(replica, now_ns))
            if replica in self._replicas:
                self._replicas[replica].gate.unreachable(now_ns)
                self._eject()

    def snapshot(self, now_ns: int) -> LoadSnapshot:
        """Beliefs as of the current few milliseconds; the same object until something changes."""
        with self._lock:
            step = now_ns // (_STEP_MS * 1_000_000)
            if step != self._step:
                self._tell(lambda: Looked(now_ns))
                self._step, self._now_ms = step, float(step * _STEP_MS)
                self._speeds.settle(self._now_ms)
                self._follow_all()
            if self._snapshot is None:
                self._snapshot = self._frozen()
            return self._snapshot

    def export(self) -> dict[str, Any]:
        """Every belief, as JSON can hold it; `restore` makes an equal table of it."""
        with self._lock:
            return self._export()

    def restore(self, state: dict[str, Any], *, now_ns: int) -> None:
        """Take the beliefs of an exported table and forget all others. Calls in flight there can end here."""
        with self._lock:
            self._restore(state, now_ns / 1e6)

    def _restore(self, state: dict[str, Any], now_ms: float) -> None:
        metas = {name: _meta(known["meta"]) for name, known in state["replicas"].items()}
        self._replicas = {}
        self._place(metas, now_ms)
        for name, known in state["replicas"].items():
            self._replicas[name].restore(known)
        self._speeds.restore(state["speeds"])
        self._cohorts.restore(state["cohorts"])
        self._hops.restore(state["hops"])
        self._founded = dict(state["founded"])
        self._flights = state["flights"]
        self._step = -1
        self._eject()

    def _export(self) -> dict[str, Any]:
        return {
            "replicas": {
                name: {"meta": _plain(known.meta), **known.export()} for name, known in self._replicas.items()
            },
            "speeds": self._speeds.export(),
            "cohorts": self._cohorts.export(),
            "hops": self._hops.export(),
            "founded": self._founded,
            "flights": self._flights,
        }

    def _tell(self, change: Callable[[], Change]) -> None:
        if self._listener is not None:
            self._listener(change())

    def _frozen(self) -> LoadSnapshot:
        return LoadSnapshot(
            self._placement,
            self._standings,
            [standing.rank for standing in self._standings],
            self._speeds.service_ms,
            self._speeds.tail,
            self._speeds.spreads,
            self._speeds.spread,
            self._hops.at(self._now_ms),
            self._ejections,
            self._config,
        )

    def _place(self, metas: dict[str, ReplicaMeta], now_ms: float) -> None:
        """Number everything anew. Replicas that are gone are forgotten, those that stay are not."""
        self._placement = Placement.of(metas)
        self._speeds = self._speeds.moved_to(self._placement)
        for meta in metas.values():
            self._hops.known(meta.pool, local=meta.local)
            self._founded.setdefault(meta.pool, now_ms)
        known, self._replicas = self._replicas, {}
        for name in self._placement.replicas:
            meta = metas[name]
            kept = known.get(name)
            self._replicas[name] = kept if kept and kept.meta == meta else self._joining(meta, now_ms)
        self._eject()
        self._follow_all()

    def _joining(self, meta: ReplicaMeta, now_ms: float) -> ReplicaBelief:
        return ReplicaBelief(
            meta,
            self._config.replica,
            pace=self._config.pace,
            gate=self._config.gate,
            middle=self._cohorts.middle(_kind(meta), now_ms),
            now_ms=now_ms,
        )

    def _eject(self) -> None:
        """Publish the ejections anew; whoever compiled candidates with the old ones sees another object."""
        self._ejections = {
            number: ejection
            for number, name in enumerate(self._placement.replicas)
            if (ejection := self._replicas[name].gate.ejection)
        }
        self._snapshot = None

    def _depart(self, flight: Flight, now_ms: float) -> None:
        number = self._placement.index.get(flight.replica)
        if number is not None:
            flight.depth = self._standings[number].depth
            self._replicas[flight.replica].sent(flight.number, now_ms, flight.expected_ms)
            self._follow(flight.replica)

    def _follow(self, replica: str) -> None:
        """Bring one replica's standing up to its beliefs, as of the step that the others are at."""
        standings = self._standings.copy()
        standings[self._placement.index[replica]] = self._standing(self._replicas[replica])
        self._standings = standings
        self._snapshot = None

    def _follow_all(self) -> None:
        self._standings = [self._standing(self._replicas[name]) for name in self._placement.replicas]
        self._snapshot = None

    def _standing(self, known: ReplicaBelief) -> Standing:
        meta, now_ms = known.meta, self._now_ms
        return known.standing(
            now_ms,
            middle=self._cohorts.middle(_kind(meta), now_ms),
            usual=self._cohorts.usual(meta.pool, now_ms),
            joined=known.since_ms > self._founded[meta.pool],
        )

    def _hear(self, known: ReplicaBelief, flight: Flight, end: Ended) -> None:
        pool, now_ms = known.meta.pool, end.now_ms
        if end.report is not None and end.report.replica == flight.replica:
            if known.queue.hear(end.report, now_ms):
                self._cohorts.heard(pool, known.queue.foreign(now_ms, 0.0), now_ms)
        elif end.outcome is Outcome.REFUSED:
            known.queue.assume_full(now_ms, self._cohorts.usual(pool, now_ms))

    def _judge(self, known: ReplicaBelief, outcome: Outcome, now_ns: int) -> None:
        gate = known.gate
        if outcome is Outcome.OK:
            changed = gate.succeeded()
        elif outcome is Outcome.LOST:
            gate.failed(now_ns)
            gate.unreachable(now_ns)
            changed = True
        else:
            changed = outcome in AGAINST_REPLICA and gate.failed(now_ns)
        if changed:
            self._eject()

    def _learn(self, known: ReplicaBelief, flight: Flight, end: Ended) -> None:
        group = self._placement.group_of(self._placement.index[flight.replica], flight.model)
        if group is None or not _measurable(end.elapsed_ms):
            return
        self._speeds.settle(end.now_ms)
        usual_ms = self._speeds.service_ms[flight.size].item(group)
        if end.outcome in AGAINST_REPLICA:
            cost_ms = max(end.elapsed_ms, flight.budget_ms)
            known.pace.punish(min(cost_ms / usual_ms, _WORST_RATIO), end.now_ms)
        elif end.outcome is Outcome.OK and end.report and _measurable(end.report.service_ms):
            ratio = end.report.service_ms / usual_ms
            self._learn_speed(known, flight, group=group, ratio=ratio, now_ms=end.now_ms)
            self._speeds.observe_completion(
                (group, flight.size, flight.depth), end.elapsed_ms / flight.expected_ms
            )
            hop_ms = end.elapsed_ms - end.report.queue_ms - end.report.service_ms
            if _measurable(hop_ms):
                self._hops.observe(known.meta.pool, hop_ms, end.now_ms)

    def _learn_speed(
        self, known: ReplicaBelief, flight: Flight, *, group: int, ratio: float, now_ms: float
    ) -> None:
        """Share the news of a service time between the replica's pace and the model's own speed."""
        kind, pace = _kind(known.meta), known.pace
        middle = self._cohorts.middle(kind, now_ms)
        error = min(_WORST_RATIO, ratio / pace.held(now_ms, middle))
        pace_variance = pace.variance
        pace.observe(error, self._speeds.variance(group, flight.size), now_ms, middle)
        self._speeds.anchor()
        self._speeds.observe_service(group, flight.size, error, pace_variance)
        alike = (other for other in self._replicas.values() if _kind(other.meta) == kind)
        self._cohorts.measured(kind, [other.pace.value for other in alike if other.pace.measured], now_ms)


def _finish(
    flight: Flight, outcome: Outcome, *, elapsed_ms: float, now_ns: int, report: LoadReport | None
) -> Finished:
    return Finished(
        flight=flight.number,
        replica=flight.replica,
        model=flight.model,
        size=flight.size,
        depth=flight.depth,
        expected_ms=flight.expected_ms,
        budget_ms=flight.budget_ms,
        outcome=outcome,
        elapsed_ms=elapsed_ms,
        now_ns=now_ns,
        report=report,
    )


def _plain(meta: ReplicaMeta) -> dict[str, Any]:
    models = {name: [profile.model_dump() for profile in warm] for name, warm in meta.models.items()}
    return {
        "pool": meta.pool,
        "hardware": meta.hardware,
        "slots": meta.slots,
        "models": models,
        "local": meta.local,
    }


def _meta(plain: dict[str, Any]) -> ReplicaMeta:
    warm = {
        name: [WarmProfile.model_validate(profile) for profile in profiles]
        for name, profiles in plain["models"].items()
    }
    return ReplicaMeta(**{**plain, "models": warm})


def _kind(meta: ReplicaMeta) -> tuple[str, str]:
    return meta.pool, meta.hardware


def _measurable(ms: float) -> bool:
    return 0.0 < ms <= _LONGEST_MS
