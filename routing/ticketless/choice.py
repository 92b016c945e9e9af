"""Which replica of one pool gets a call: the one that will be done with it first.

For callers that know nothing of models or deadlines, only of their own calls. Main path: `choose` a replica,
`sent`, and what became of the call: `finished`. Several callers share nothing but what replicas reply.

    expected = service time * max(1, (calls + 1) / slots)

* nothing is known of a replica: the median of its pool, and one call at a time until it has answered;
* what was seen fades towards that median, so that a slow replica is tried again; ever more rarely, as long as
  it stays slow, and with one call at a time;
* a call that is overdue counts before it returns;
* replicas that fail, are silent or cannot be reached are out (`gate.py`: minimum hosts, panic).
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Sequence
from random import Random
from statistics import median_low
from typing import Final

from routing.beliefs.gate import barred
from routing.ticketless.replica import BeliefConfig, Flight, TimedReplica
from routing.ticketless.service_time import Middle
from routing.ticketless.slots import SlotsGuess, guesses_up_to

_NEVER_SEEN_MS: Final = 1.0


class CallEnd(enum.Enum):
    """What became of a call; UNSEEN where nobody tells an answer from a failure (yet, see `told`)."""

    ANSWERED = "answered"
    FAILED = "failed"
    UNSEEN = "unseen"
    REFUSED = "refused"
    ABANDONED = "abandoned"


class ChoiceConfig(BeliefConfig):
    """`slots`: calls a replica runs at once, learned if None. `tie`: replicas whose expected completions lie
    within this share are equal. `scan`: of a larger pool so many replicas are looked at for a call.
    """

    slots: int | None = None
    tie: float = 0.05
    scan: int = 64


class ReplicaChoice:
    """Beliefs about the replicas of one pool, and the choice among them. Not thread-safe."""

    def __init__(self, config: ChoiceConfig | None = None) -> None:
        self._config = config or ChoiceConfig()
        self._replicas: dict[str, TimedReplica] = {}
        self._slots = SlotsGuess([self._config.slots or 1])
        self._pool = _never_seen(self._slots)

    def choose(self, now_ns: int, rng: Random, exclude: Collection[str] = ()) -> str | None:
        """The replica that a call should go to; None if each is excluded, full or out of the choice."""
        asked = list(self._replicas.values())
        if len(asked) > self._config.scan:
            asked = rng.sample(asked, self._config.scan)
        healthy = [belief for belief in self._healthy(asked, now_ns) if belief.name not in exclude]
        free = [belief for belief in healthy if not belief.full(self._pool, now_ns)]
        if not free:
            return None
        ready = [belief for belief in free if belief.room(self._pool, now_ns)]
        return self._quickest(ready or free, now_ns, rng).name

    def replicas_updated(self, replicas: Iterable[tuple[str, int]]) -> None:
        """The pool now has these replicas, each with the most calls it takes at once."""
        capacities = dict(replicas)
        if self._config.slots is None:
            self._guess_up_to(max(capacities.values(), default=1))
        known = self._replicas
        self._replicas = {name: known.get(name) or self._new(name) for name in capacities}
        for name, capacity in capacities.items():
            self._replicas[name].capacity = capacity
        self._find_middle()

    def sent(self, replica: str, now_ns: int) -> Flight:
        """A call goes to the replica. Every flight ends with `finished`."""
        return (self._replicas.get(replica) or self._new(replica)).sent(self._pool, now_ns)

    def heard(self, flight: Flight, ongoing: int) -> None:
        """The replica admitted the call, and said how many it then held with it."""
        if belief := self._replicas.get(flight.replica):
            flight.ahead = max(0.0, ongoing - 1.0)
            belief.heard(ongoing - flight.own, flight.sent_ns)

    def reserved(self, replica: str, ongoing: int, now_ns: int) -> None:
        """The replica holds a place for a call that is not sent yet, and said how many it holds with it."""
        if belief := self._replicas.get(replica):
            belief.heard(ongoing - len(belief.flights), now_ns)

    def finished(self, flight: Flight, end: CallEnd, now_ns: int) -> None:
        """The call ended at `now_ns`."""
        belief = self._replicas.get(flight.replica)
        if belief is None or flight not in belief.flights:
            return
        del belief.flights[flight]
        match end:
            case CallEnd.ANSWERED:
                self._slots.observe(belief.answered(flight, self._pool, now_ns))
            case CallEnd.UNSEEN:
                self._slots.observe(belief.ended_unseen(flight, self._pool, now_ns))
            case CallEnd.FAILED:
                belief.failed(flight, self._pool, now_ns)
            case CallEnd.ABANDONED:
                belief.abandoned(flight, self._pool, now_ns)
            case CallEnd.REFUSED:
                belief.refused(now_ns)
        self._find_middle()

    def told(self, flight: Flight, *, ok: bool, now_ns: int) -> None:
        """Somebody says whether a call that ends unseen, or has, was answered."""
        belief = self._replicas.get(flight.replica)
        if belief is None:
            return
        if ok:
            belief.works()
        else:
            belief.failed(flight, self._pool, now_ns)
        self._find_middle()

    def unreachable(self, replica: str, now_ns: int) -> None:
        """The replica is listed but cannot be called."""
        if belief := self._replicas.get(replica):
            belief.unreachable(now_ns)

    @property
    def slots(self) -> int:
        """How many calls a replica is believed to run at once."""
        return self._slots.guesses[self._slots.best]

    def _healthy(self, asked: Sequence[TimedReplica], now_ns: int) -> list[TimedReplica]:
        causes = [belief.ejection(self._pool, now_ns) for belief in asked]
        ejections = {number: cause for number, cause in enumerate(causes) if cause is not None}
        out = barred(range(len(asked)), ejections, self._config.gate, now_ns).replicas
        return [belief for number, belief in enumerate(asked) if number not in out]

    def _quickest(self, ready: Sequence[TimedReplica], now_ns: int, rng: Random) -> TimedReplica:
        """Random among the least busy of those done first, so that callers who know the same differ."""
        expected_ms = [belief.expected_ms(self._pool, now_ns) for belief in ready]
        bound_ms = min(expected_ms) * (1.0 + self._config.tie)
        near = [belief for belief, ms in zip(ready, expected_ms, strict=True) if ms <= bound_ms]
        calls = [belief.calls(self._pool, now_ns) for belief in near]
        fewest = min(calls) + 0.5
        return rng.choice([belief for belief, busy in zip(near, calls, strict=True) if busy < fewest])

    def _guess_up_to(self, most: int) -> None:
        guesses = guesses_up_to(most)
        if guesses != self._slots.guesses:
            self._slots = SlotsGuess(guesses)
            self._pool = _never_seen(self._slots)
            self._replicas = {}

    def _new(self, name: str) -> TimedReplica:
        return TimedReplica(name, 1, self._slots.guesses, self._config)

    def _find_middle(self) -> None:
        """The service times in the middle of those replicas that answered when they were last called."""
        known = [belief.answered_ms for belief in self._replicas.values() if belief.answered_ms]
        medians = [median_low(values) for values in zip(*known, strict=True)] if known else self._pool.medians
        self._pool = Middle(medians, self._slots.best, seen=bool(known) or self._pool.seen)


def _never_seen(slots: SlotsGuess) -> Middle:
    return Middle([_NEVER_SEEN_MS] * len(slots.guesses), slots.best, seen=False)
