"""Everything that one process believes of replicas and models, and how it learns. Not thread-safe: `load.py`.

    placed     the replicas there are            -> numbers, cohorts, groups
    departed   a call of ours left               -> the replica's queue
    landed     a call of ours ended              -> queue, errors, pace, service time, spread, way
    snapshot   the beliefs of now                -> what a decision is made on

Beliefs are a function of these events and of the moment asked for; looking at them changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from models.card import WarmProfile
from models.forecast import LoadReport
from routing.cohorts import CohortBeliefs, Kind
from routing.gate import Ejection
from routing.hops import Hops
from routing.outcome import AGAINST_REPLICA, Outcome
from routing.placement import Placement, ReplicaMeta
from routing.reliability import RIGHT, Reliability
from routing.replica import ReplicaBelief, Standing
from routing.snapshot import Ended, Flight, LoadConfig, LoadSnapshot
from routing.speeds import Place, Speeds

STEP_MS: Final = 4
"""Beliefs fade in steps, so that decisions within one share the work."""
_LONGEST_MS: Final = 600_000.0
"""A service time beyond ten minutes is no measurement."""
_WORST_RATIO: Final = 1e4


class Beliefs:
    """The state behind a load table. Times are wall milliseconds."""

    def __init__(self, config: LoadConfig) -> None:
        self._config = config
        self.replicas: dict[str, ReplicaBelief] = {}
        self.placement = Placement.of({})
        self.speeds = Speeds(self.placement, config.speed)
        self._cohorts = CohortBeliefs(forecast=config.forecast)
        self._hops = Hops(config.hop)
        self._reliability: dict[str, Reliability] = {}
        self._founded: dict[str, float] = {}
        self._step = -1
        self._now_ms = 0.0
        self._standings: list[Standing] = []
        self._ranks: list[float] = []
        self._stale: set[str] = set()
        self._ejections: Mapping[int, Ejection] = {}
        self._snapshot: LoadSnapshot | None = None

    @property
    def now_ms(self) -> float:
        """The step that the standings are as of."""
        return self._now_ms

    def placed(self, metas: dict[str, ReplicaMeta], now_ms: float) -> None:
        """Number everything anew. Replicas that are gone are forgotten, those that stay are not."""
        self.placement = Placement.of(metas)
        self.speeds = self.speeds.moved_to(self.placement)
        for meta in metas.values():
            self._hops.known(meta.pool, local=meta.local)
            self._founded.setdefault(meta.pool, now_ms)
        known, self.replicas = self.replicas, {}
        for name in self.placement.replicas:
            meta = metas[name]
            kept = known.get(name)
            self.replicas[name] = kept if kept and kept.meta == meta else self._joining(meta, now_ms)
        self._eject()
        self._follow_all()

    def departed(self, flight: Flight, now_ns: int) -> None:
        """A call of ours is on its way."""
        number = self.placement.index.get(flight.replica)
        if number is None:
            return
        flight.depth = self.standings[number].depth
        known = self.replicas[flight.replica]
        known.sent(flight.number, now_ns / 1e6, flight.expected_ms)
        if known.gate.sent(now_ns):
            self._eject()
        self._follow(flight.replica)

    def landed(self, flight: Flight, end: Ended, now_ns: int) -> None:
        """Learn from a call of ours that has ended."""
        known = self.replicas.get(flight.replica)
        if known is None:
            return
        known.ended(flight.number)
        self._hear(known, flight, end)
        self._judge(known, end.outcome, now_ns)
        self._learn(known, flight, end)
        self._follow(flight.replica)

    def unreachable(self, replica: str, now_ns: int) -> None:
        """A replica is listed, but does not answer."""
        if replica in self.replicas:
            self.replicas[replica].gate.unreachable(now_ns)
            self._eject()

    def settled(self, now_ms: float) -> bool:
        """Bring everything to the step of this moment; True if that is another than before."""
        step = int(now_ms // STEP_MS)
        if step == self._step:
            return False
        self._step, self._now_ms = step, float(step * STEP_MS)
        self.speeds.settle(self._now_ms)
        self._cohorts.settle(self._now_ms, self._paces)
        self._follow_all()
        return True

    def snapshot(self) -> LoadSnapshot:
        """The beliefs as of the step settled to; the same object until something changes."""
        if self._snapshot is None:
            self._snapshot = self._frozen()
        return self._snapshot

    def restore(self, state: dict[str, Any], now_ms: float) -> None:
        """Take the beliefs of another, and forget all others."""
        metas = {name: _meta(known["meta"]) for name, known in state["replicas"].items()}
        self.replicas = {}
        self.placed(metas, now_ms)
        for name, known in state["replicas"].items():
            self.replicas[name].restore(known)
        self.speeds.restore(state["speeds"])
        self._cohorts.restore(state["cohorts"])
        self._hops.restore(state["hops"])
        kept = state["reliability"].items()
        self._reliability = {pool: Reliability.restored(known) for pool, known in kept}
        self._founded = dict(state["founded"])
        self._step = -1
        self._eject()

    def export(self) -> dict[str, Any]:
        """Every belief, as JSON can hold it."""
        return {
            "replicas": {
                name: {"meta": _plain(known.meta), **known.export()} for name, known in self.replicas.items()
            },
            "speeds": self.speeds.export(),
            "cohorts": self._cohorts.export(),
            "hops": self._hops.export(),
            "reliability": {pool: kept.export() for pool, kept in self._reliability.items()},
            "founded": self._founded,
        }

    def _frozen(self) -> LoadSnapshot:
        standings = self.standings
        return LoadSnapshot(
            self.placement,
            standings,
            self._ranks,
            self.speeds.service_ms,
            self.speeds.tail,
            self.speeds.spreads,
            self.speeds.spread,
            self._hops.at(self._now_ms),
            self._reliability,
            self._ejections,
            self._config,
        )

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
            for number, name in enumerate(self.placement.replicas)
            if (ejection := self.replicas[name].gate.ejection)
        }
        self._snapshot = None

    def _follow(self, replica: str) -> None:
        """Have one replica's standing brought up to its beliefs, as of the step that the others are at."""
        self._stale.add(replica)
        self._snapshot = None

    def _follow_all(self) -> None:
        self._standings = [self._standing(self.replicas[name]) for name in self.placement.replicas]
        self._ranks = [standing.rank for standing in self._standings]
        self._stale.clear()
        self._snapshot = None

    @property
    def standings(self) -> list[Standing]:
        """How each replica stands; replaced, never changed: snapshots hold the old ones."""
        if self._stale:
            self._standings, self._ranks = self._standings.copy(), self._ranks.copy()
            for name in self._stale:
                number = self.placement.index[name]
                self._standings[number] = standing = self._standing(self.replicas[name])
                self._ranks[number] = standing.rank
            self._stale.clear()
        return self._standings

    def _paces(self, kind: Kind) -> list[float]:
        """Of the replicas of a kind that answered when last asked."""
        alike = (known.pace for known in self.replicas.values() if known.kind == kind)
        return [pace.value for pace in alike if pace.measured]

    def _standing(self, known: ReplicaBelief) -> Standing:
        pool, _ = kind = known.kind
        return known.standing(
            self._now_ms,
            middle=self._cohorts.settled_middle(kind),
            usual=self._cohorts.settled_usual(pool),
            joined=known.since_ms > self._founded[pool],
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
        elif outcome in AGAINST_REPLICA:
            changed = gate.failed(now_ns)
        else:
            changed = gate.undecided(now_ns)
        if changed:
            self._eject()

    def _learn(self, known: ReplicaBelief, flight: Flight, end: Ended) -> None:
        group = self.placement.group_of(self.placement.index[flight.replica], flight.model)
        if group is None or not _measurable(end.elapsed_ms):
            return
        self.speeds.settle(end.now_ms)
        self.speeds.anchor()
        usual_ms = self.speeds.service_ms[flight.size].item(group)
        place = (group, flight.size, flight.depth)
        if end.outcome is Outcome.TIMEOUT:
            self._learn_lateness(known, flight, end, place)
        elif end.outcome in AGAINST_REPLICA:
            cost_ms = max(end.elapsed_ms, flight.budget_ms)
            known.pace.punish(min(cost_ms / usual_ms, _WORST_RATIO), end.now_ms)
        elif end.outcome is Outcome.OK and end.report and _measurable(end.report.service_ms):
            stopped_ms = self._learn_way(known, end, end.report)
            self._learn_speed(
                known, flight, end.report, group=group, now_ms=end.now_ms, stopped_ms=stopped_ms
            )
            self._note(known.meta.pool, place, end.elapsed_ms / flight.expected_ms, ended=True)
            self.speeds.observe_completion(place, end.elapsed_ms / flight.expected_ms)

    def _learn_way(self, known: ReplicaBelief, end: Ended, report: LoadReport) -> float:
        """What the replica did not account for is the way; returns what is too long for one."""
        hop_ms = end.elapsed_ms - report.queue_ms - report.service_ms
        return self._hops.observe(known.meta.pool, hop_ms, end.now_ms) if _measurable(hop_ms) else 0.0

    def _learn_lateness(self, known: ReplicaBelief, flight: Flight, end: Ended, place: Place) -> None:
        """A call was given up at its deadline: nobody knows how long it would have taken, but longer.

        Of the rest of a call that has taken so long it is assumed that it takes once more what was expected,
        which is true of exponential service times.
        """
        late = end.elapsed_ms / flight.expected_ms
        self._note(known.meta.pool, place, late, ended=False)
        self.speeds.observe_completion(place, late, ended=False)
        group, size, _ = place
        middle = self._cohorts.middle(known.kind, end.now_ms)
        ratio = min(_WORST_RATIO, late + 1.0)
        known.pace.observe(ratio, self.speeds.variance(group, size), end.now_ms, middle)

    def _note(self, pool: str, place: Place, ratio: float, *, ended: bool) -> None:
        """How a call compares with what was promised of such calls before it."""
        spread = self.speeds.spreads.get(place) or self.speeds.spread(place)
        before = self._reliability.get(pool, RIGHT)
        self._reliability = {**self._reliability, pool: before.seen(spread.share_within(ratio), ended=ended)}

    def _learn_speed(
        self,
        known: ReplicaBelief,
        flight: Flight,
        report: LoadReport,
        *,
        group: int,
        now_ms: float,
        stopped_ms: float,
    ) -> None:
        """Share the news of a service time between the replica's pace and the model's own speed.

        The time that the replica was stopped for is part of what a call takes there.
        """
        kind, pace = known.kind, known.pace
        usual_ms, middle = self.speeds.service_ms[flight.size].item(group), self._cohorts.middle(kind, now_ms)
        took_ms = report.service_ms + stopped_ms
        error = min(_WORST_RATIO, took_ms / usual_ms / pace.held(now_ms, middle))
        pace_variance = pace.variance
        gain = pace.observe(error, self.speeds.variance(group, flight.size), now_ms, middle)
        unexplained = error / (1.0 + gain * (error - 1.0))
        if report.typical_calls >= 1.0 and _measurable(report.typical_ms):
            typical = report.typical_ms / usual_ms / pace.held(now_ms, middle)
            pace.hear(min(_WORST_RATIO, typical), report.typical_calls, now_ms, middle)
        self.speeds.observe_service(group, flight.size, error, pace_variance, at_most=unexplained)
        self._cohorts.measured(kind, now_ms)


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


def _kind(meta: ReplicaMeta) -> Kind:
    return meta.pool, meta.hardware


def _measurable(ms: float) -> bool:
    return 0.0 < ms <= _LONGEST_MS
