"""What a completion teaches: of the replica's pace, of the model's speed, of the way, of promises.

    service time   -> pace of the replica and speed of the model, shared by how uncertain either is
    completion     -> spread around what was expected, and whether what was promised is kept
    the rest       -> the way there and back

Shared by all replicas of a process; what one replica alone is believed to be is in `replica.py`.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from models.forecast import LoadReport
from routing.beliefs.cohorts import CohortBeliefs
from routing.beliefs.hops import HopConfig, Hops
from routing.beliefs.outcome import AGAINST_REPLICA, Outcome
from routing.beliefs.placement import Placement
from routing.beliefs.reliability import RIGHT, Reliability
from routing.beliefs.replica import ReplicaBelief
from routing.beliefs.snapshot import Ended, Flight, Unlearned
from routing.beliefs.speeds import Place, SpeedConfig, Speeds

_LONGEST_MS: Final = 600_000.0
"""A service time beyond ten minutes is no measurement."""
_WORST_RATIO: Final = 1e4
_BIGGEST_NEWS: Final = 20.0
"""One measurement says at most that everything is so many times slower: a call of microseconds that met a
pause of the processor is a thousand times too long, and pace and speed would chase each other for minutes.
"""
_AT_ONCE_MS: Final = 1000.0
_APART: Final = 3.0
"""Calls to two replicas that are late within a second are late for the same reason, unless one is so many
times as late as the other.
"""


class Completed(NamedTuple):
    """A call that ended on a replica that is known: `place` is its group, size and depth."""

    known: ReplicaBelief
    flight: Flight
    end: Ended
    place: Place


class Learning:
    """Beliefs that replicas share, and how they grow. Times are wall milliseconds."""

    def __init__(self, speed: SpeedConfig, hop: HopConfig, *, forecast: bool) -> None:
        self.speeds = Speeds(Placement.of({}), speed)
        self.cohorts = CohortBeliefs(forecast=forecast)
        self.hops = Hops(hop)
        self.reliability: dict[str, Reliability] = {}
        self._late: dict[str, tuple[float, float]] = {}

    def placed(self, placement: Placement) -> None:
        """Number speeds anew; know the way to pools that are new."""
        self.speeds = self.speeds.moved_to(placement)
        for meta in placement.metas:
            self.hops.known(meta.pool, local=meta.local)

    def hear(self, known: ReplicaBelief, flight: Flight, end: Ended) -> None:
        """Take what the replica said of its queue, or what a refusal says of it."""
        pool, now_ms = known.meta.pool, end.now_ms
        if end.report is not None and end.report.replica == flight.replica:
            if known.queue.hear(end.report, now_ms):
                self.cohorts.heard(pool, known.queue.foreign(now_ms, 0.0), now_ms)
        elif end.outcome is Outcome.REFUSED:
            known.queue.assume_full(now_ms, self.cohorts.usual(pool, now_ms))

    def learn(self, known: ReplicaBelief, flight: Flight, end: Ended, *, group: int) -> None:
        """Learn from how long the call took, or from its failure; nothing where a load was part of it, which
        is neither the model's speed nor the replica's.
        """
        if not _measurable(end.elapsed_ms) or _loaded(known, flight, end):
            return
        self.speeds.settle(end.now_ms)
        self.speeds.anchor()
        call = Completed(known, flight, end, (group, flight.size, flight.depth))
        if end.outcome is Outcome.TIMEOUT:
            self._learn_lateness(call)
        elif end.outcome in AGAINST_REPLICA:
            cost_ms = max(end.elapsed_ms, flight.budget_ms)
            known.pace.punish(min(cost_ms / self._usual_ms(call), _WORST_RATIO), end.now_ms)
        elif end.outcome is Outcome.OK and end.report and _measurable(end.report.service_ms):
            stopped_ms = self._learn_way(call, end.report)
            self._learn_speed(call, end.report, stopped_ms=stopped_ms)
            self._learn_spread(call, end.elapsed_ms / flight.expected_ms, ended=True)

    def unlearned(self) -> Unlearned:
        """What is believed where nothing was measured."""
        return Unlearned(self.speeds.warm_ms, self.speeds.warm_tail, self.hops.unlearned())

    def export(self) -> dict[str, Any]:
        """The state as JSON can hold it."""
        return {
            "speeds": self.speeds.export(),
            "cohorts": self.cohorts.export(),
            "hops": self.hops.export(),
            "reliability": {pool: kept.export() for pool, kept in self.reliability.items()},
            "late": [[replica, *late] for replica, late in self._late.items()],
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.speeds.restore(state["speeds"])
        self.cohorts.restore(state["cohorts"])
        self.hops.restore(state["hops"])
        kept = state["reliability"].items()
        self.reliability = {pool: Reliability.restored(known) for pool, known in kept}
        self._late = {replica: (late_ms, seen_ms) for replica, late_ms, seen_ms in state["late"]}

    def _usual_ms(self, call: Completed) -> float:
        group, size, _ = call.place
        return self.speeds.service_ms[size].item(group)

    def _learn_way(self, call: Completed, report: LoadReport) -> float:
        """What the replica did not account for is the way; returns what is too long for one, because the
        replica was stopped.

        If it was this process that was stopped, no replica is slow for that.
        """
        hop_ms = call.end.elapsed_ms - report.queue_ms - report.service_ms
        if not _measurable(hop_ms):
            return 0.0
        beyond_ms = self.hops.observe(call.known.meta.pool, hop_ms, call.end.now_ms)
        if beyond_ms <= 0.0:
            return 0.0
        others_ms = self._others_late_ms(call.flight.replica, beyond_ms, call.end.now_ms)
        return 0.0 if call.known.meta.local or beyond_ms < _APART * others_ms else beyond_ms

    def _others_late_ms(self, replica: str, beyond_ms: float, now_ms: float) -> float:
        """By how much calls to other replicas were late of late: what they have in common is the caller."""
        lately = {name: seen for name, seen in self._late.items() if 0.0 <= now_ms - seen[1] < _AT_ONCE_MS}
        others_ms = max((late_ms for name, (late_ms, _) in lately.items() if name != replica), default=0.0)
        self._late = {**lately, replica: (beyond_ms, now_ms)}
        return others_ms

    def _learn_lateness(self, call: Completed) -> None:
        """A call was given up at its deadline: nobody knows how long it would have taken, but longer.

        Of the rest of a call that has taken so long it is assumed that it takes once more what was expected,
        which is true of exponential service times.
        """
        known, now_ms = call.known, call.end.now_ms
        late = call.end.elapsed_ms / call.flight.expected_ms
        self._learn_spread(call, late, ended=False)
        group, size, _ = call.place
        ratio, middle = min(_WORST_RATIO, late + 1.0), self.cohorts.middle(known.kind, now_ms)
        known.pace.observe(ratio, self.speeds.variance(group, size), now_ms, middle)

    def _learn_spread(self, call: Completed, ratio: float, *, ended: bool) -> None:
        """How a call compares with what was expected, and with what was promised of such calls before it."""
        pool, place = call.known.meta.pool, call.place
        spread = self.speeds.spreads.get(place) or self.speeds.spread(place)
        before = self.reliability.get(pool, RIGHT)
        self.reliability = {**self.reliability, pool: before.seen(spread.share_within(ratio), ended=ended)}
        self.speeds.observe_completion(place, ratio, ended=ended)

    def _learn_speed(self, call: Completed, report: LoadReport, *, stopped_ms: float) -> None:
        """Share the news of a service time between the replica's pace and the model's own speed.

        The time that the replica was stopped for is part of what a call takes there.
        """
        group, size, _ = call.place
        kind, pace, now_ms = call.known.kind, call.known.pace, call.end.now_ms
        usual_ms, middle = self._usual_ms(call), self.cohorts.middle(kind, now_ms)
        took_ms = report.service_ms + stopped_ms
        error = min(_BIGGEST_NEWS, took_ms / usual_ms / pace.held(now_ms, middle))
        pace_variance = pace.variance
        gain = pace.observe(error, self.speeds.variance(group, size), now_ms, middle)
        unexplained = error / (1.0 + gain * (error - 1.0))
        if report.typical_calls >= 1.0 and _measurable(report.typical_ms):
            typical = report.typical_ms / usual_ms / pace.held(now_ms, middle)
            pace.hear(min(_WORST_RATIO, typical), report.typical_calls, now_ms, middle)
        self.speeds.observe_service(group, size, error, pace_variance, at_most=unexplained)
        self.cohorts.measured(kind, now_ms)


def _loaded(known: ReplicaBelief, flight: Flight, end: Ended) -> bool:
    """Whether the call waited for its model, or was expected to."""
    return flight.model in known.meta.cold or (end.report is not None and end.report.load_ms > 0.0)


def _measurable(ms: float) -> bool:
    return 0.0 < ms <= _LONGEST_MS
