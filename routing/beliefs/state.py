"""Everything that one process believes of replicas and models. Not thread-safe: `load.py`.

    placed     the replicas there are            -> numbers, cohorts, groups
    departed   a call of ours left               -> the replica's queue
    landed     a call of ours ended              -> queue, errors, and what `learning.py` makes of it
    snapshot   the beliefs of now                -> what a decision is made on

Beliefs are a function of these events and of the moment asked for; looking at them changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from models.card import WarmProfile
from routing.beliefs.cohorts import Kind
from routing.beliefs.doubt import Doubt
from routing.beliefs.gate import Ejection
from routing.beliefs.learning import Learning
from routing.beliefs.outcome import AGAINST_REPLICA, Outcome
from routing.beliefs.placement import Placement, ReplicaMeta
from routing.beliefs.replica import ReplicaBelief, Standing
from routing.beliefs.snapshot import Ended, Flight, LoadConfig, LoadSnapshot
from routing.beliefs.speeds import Place
from routing.latency import Spread

STEP_MS: Final = 4
"""Beliefs fade in steps, so that decisions within one share the work."""


class Beliefs:
    """The state behind a load table. Times are wall milliseconds."""

    def __init__(self, config: LoadConfig) -> None:
        self._config = config
        self.replicas: dict[str, ReplicaBelief] = {}
        self.placement = Placement.of({})
        self._shared = Learning(config.speed, config.hop, forecast=config.forecast)
        self._founded: dict[str, float] = {}
        self._doubts: dict[str, Doubt] = {}
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
        """Number everything anew. Replicas that are gone are forgotten; those that stay are not,
        whatever models they were given or lost.
        """
        self.placement = Placement.of(metas)
        self._shared.placed(self.placement)
        for meta in metas.values():
            self._founded.setdefault(meta.pool, now_ms)
            self._doubts.setdefault(meta.pool, Doubt(self._config.doubt))
        known, self.replicas = self.replicas, {}
        for name in self.placement.replicas:
            meta = metas[name]
            kept = known.get(name)
            if kept and kept.meta.as_fast_as(meta):
                kept.meta, self.replicas[name] = meta, kept
            else:
                self.replicas[name] = self._joining(meta, now_ms)
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
        if flight.doubted:
            self._doubts[known.meta.pool].asked(flight.number)
            self._stale.update(self.replicas)

    def landed(self, flight: Flight, end: Ended, now_ns: int) -> None:
        """Learn from a call of ours that has ended."""
        known = self.replicas.get(flight.replica)
        if known is None:
            return
        known.ended(flight.number)
        self._shared.hear(known, flight, end)
        self._judge(known, end.outcome, now_ns)
        group = self.placement.group_of(self.placement.index[flight.replica], flight.model)
        if group is not None:
            self._shared.learn(known, flight, end, group=group)
        self._follow(flight.replica)
        self._resolve(known, flight, end, group)

    def spread(self, place: Place) -> Spread:
        """How far completions of a place lie from what is predicted, measured or assumed."""
        speeds = self._shared.speeds
        return speeds.spreads.get(place) or speeds.spread(place)

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
        self._shared.speeds.settle(self._now_ms)
        self._shared.cohorts.settle(self._now_ms, self._paces)
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
        self._shared.restore(state["shared"])
        self._founded = dict(state["founded"])
        for pool, doubt in state["doubts"].items():
            self._doubts.setdefault(pool, Doubt(self._config.doubt)).restore(doubt)
        self._step = -1
        self._eject()

    def export(self) -> dict[str, Any]:
        """Every belief, as JSON can hold it."""
        return {
            "replicas": {
                name: {"meta": _plain(known.meta), **known.export()} for name, known in self.replicas.items()
            },
            "shared": self._shared.export(),
            "founded": self._founded,
            "doubts": {pool: doubt.export() for pool, doubt in self._doubts.items()},
        }

    def _frozen(self) -> LoadSnapshot:
        standings, speeds = self.standings, self._shared.speeds
        return LoadSnapshot(
            self.placement,
            standings,
            self._ranks,
            speeds.service_ms,
            speeds.tail,
            speeds.spreads,
            speeds.spread,
            self._shared.hops.at(self._now_ms),
            self._shared.reliability,
            self._ejections,
            self._shared.unlearned(),
            self._config,
        )

    def _joining(self, meta: ReplicaMeta, now_ms: float) -> ReplicaBelief:
        return ReplicaBelief(
            meta,
            self._config.replica,
            pace=self._config.pace,
            gate=self._config.gate,
            middle=self._shared.cohorts.middle((meta.pool, meta.hardware), now_ms),
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
            middle=self._shared.cohorts.settled_middle(kind),
            usual=self._shared.cohorts.settled_usual(pool),
            joined=known.since_ms > self._founded[pool],
            doubtful=self._doubts[pool].allowed(self._now_ms),
        )

    def _resolve(self, known: ReplicaBelief, flight: Flight, end: Ended, group: int | None) -> None:
        """If the call was made to learn whether the pool is still too slow, it has told."""
        in_time = end.outcome is Outcome.OK
        if not self._doubts[known.meta.pool].ended(flight.number, end.now_ms, in_time=in_time):
            return
        if in_time and group is not None:
            self._shared.speeds.forget_spread(group)
        self._stale.update(self.replicas)

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


def _plain(meta: ReplicaMeta) -> dict[str, Any]:
    models = {name: [profile.model_dump() for profile in warm] for name, warm in meta.models.items()}
    return {
        "pool": meta.pool,
        "hardware": meta.hardware,
        "slots": meta.slots,
        "models": models,
        "local": meta.local,
        "cold": sorted(meta.cold),
    }


def _meta(plain: dict[str, Any]) -> ReplicaMeta:
    warm = {
        name: [WarmProfile.model_validate(profile) for profile in profiles]
        for name, profiles in plain["models"].items()
    }
    return ReplicaMeta(**{**plain, "models": warm, "cold": frozenset(plain.get("cold", ()))})
