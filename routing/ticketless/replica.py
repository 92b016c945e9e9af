"""What one caller believes of one replica: its calls there, its speed, and whether it fails or is silent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from routing.beliefs.gate import UNREACHABLE, Ejection, ErrorGate, GateConfig
from routing.ticketless.service_time import NS_PER_MS, Middle, ServiceTime, SpeedMemory, delay, faded


class BeliefConfig(SpeedMemory):
    """How a replica is judged, times in ms or as multiples of the pool's median service time.

    `failure` is what a failing call is charged. A call of unseen outcome that ended within `quick` medians
    failed. A replica is silent when a call is out `silence` times as long as expected, at least `silence_ms`,
    and nothing came back since it was sent. Other callers' calls fade with `foreign` medians.
    """

    failure: float = 10.0
    quick: float = 0.1
    silence: float = 4.0
    silence_ms: float = 1000.0
    foreign: float = 2.0
    gate: GateConfig = GateConfig()


@dataclass(slots=True, eq=False)
class Flight:
    """A call on its way, with what was believed when it was sent.

    `own` counts the caller's calls on the replica with this one, `ahead` everybody's without it; `retry` says
    that it tries anew a replica that was slow.
    """

    replica: str
    sent_ns: int
    own: int
    ahead: float
    expected_ms: float
    retry: bool


class TimedReplica:
    """One replica, which takes at most `capacity` calls at once."""

    def __init__(self, name: str, capacity: int, guesses: Sequence[int], config: BeliefConfig) -> None:
        self.name = name
        self.capacity = capacity
        self.flights: dict[Flight, None] = {}
        self.answered_ms: list[float] | None = None
        self._guesses = guesses
        self._config = config
        self._gate = ErrorGate(config.gate)
        self._service = ServiceTime(guesses, config)
        self._foreign = 0.0
        self._foreign_ns = self._reply_ns = 0
        self._answers = self._failures = 0

    def calls(self, pool: Middle, now_ns: int) -> float:
        """Calls on the replica: ours, counted, and other callers', heard of and fading."""
        fade_ms = self._config.foreign * pool.service_ms
        return len(self.flights) + self._foreign * faded(now_ns - self._foreign_ns, fade_ms)

    def full(self, pool: Middle, now_ns: int) -> bool:
        """Whether it would refuse a call."""
        return self.calls(pool, now_ns) > self.capacity - 0.5

    def expected_ms(self, pool: Middle, now_ns: int) -> float:
        """When a call sent now would be answered. A call that is overdue counts before it returns."""
        service_ms = max(self._service.now_ms(pool, now_ns), self._overdue_ms(pool, now_ns))
        return service_ms * delay(self.calls(pool, now_ns), self._guesses[pool.best])

    def room(self, pool: Middle, now_ns: int) -> bool:
        """Whether one more call may try it: twice as many with each answer of a new replica, and one at a
        time where it failed or was slow.
        """
        if self._failures or self._service.retry(pool, now_ns):
            return not self.flights
        return len(self.flights) < 1 << min(self._answers, 16)

    def ejection(self, pool: Middle, now_ns: int) -> Ejection | None:
        """Why it is out of the choice, if it is. In a pool that never answered nobody can be late."""
        if pool.seen and self._silent(now_ns):
            return Ejection(UNREACHABLE, now_ns + 1)
        return self._gate.ejection

    def sent(self, pool: Middle, now_ns: int) -> Flight:
        """A call of ours is on its way."""
        ahead, expected_ms = self.calls(pool, now_ns), self.expected_ms(pool, now_ns)
        retry = self._service.retry(pool, now_ns)
        flight = Flight(self.name, now_ns, len(self.flights) + 1, ahead, expected_ms, retry)
        self.flights[flight] = None
        self._gate.sent(now_ns)
        return flight

    def heard(self, foreign: float, now_ns: int) -> None:
        """So many calls on it were not ours at `now_ns`."""
        if now_ns >= self._foreign_ns:
            self._foreign, self._foreign_ns = max(0.0, foreign), now_ns

    def refused(self, now_ns: int) -> None:
        """It had no room for a call: the calls that are not ours fill it."""
        self._reply_ns = now_ns
        self._gate.undecided(now_ns)
        self.heard(self.capacity - len(self.flights), now_ns)

    def answered(self, flight: Flight, pool: Middle, now_ns: int) -> list[float]:
        """Learn from an answer. Returns how wrong each guess of the slots was about it."""
        errors = self._completed(flight, pool, now_ns)
        self.works()
        return errors

    def ended_unseen(self, flight: Flight, pool: Middle, now_ns: int) -> list[float]:
        """Learn from a completion of which nobody knows whether it was an answer."""
        if now_ns - flight.sent_ns < self._config.quick * pool.service_ms * NS_PER_MS:
            self.failed(flight, pool, now_ns)
            return []
        self._gate.undecided(now_ns)
        return self._completed(flight, pool, now_ns)

    def works(self) -> None:
        """A call was answered."""
        self._failures = 0
        self._gate.succeeded()

    def failed(self, flight: Flight, pool: Middle, now_ns: int) -> None:
        """Learn from a failure. The first in a row allows calls one by one, each further one is charged."""
        self._failures += 1
        self._gate.failed(now_ns)
        self._reply_ns = now_ns
        if self._failures == 1 and not flight.retry:
            return
        seen_ms = self._service.of_completion(now_ns - flight.sent_ns, flight.ahead)
        charged_ms = [
            max(seen, self._config.failure * mid) for seen, mid in zip(seen_ms, pool.medians, strict=True)
        ]
        self._service.replace(charged_ms, now_ns, retry=flight.retry)
        self.answered_ms = None

    def abandoned(self, flight: Flight, pool: Middle, now_ns: int) -> None:
        """Its caller gave a call up, which would have taken longer than that."""
        self._gate.undecided(now_ns)
        seen_ms = self._service.of_completion(now_ns - flight.sent_ns, flight.ahead)
        if seen_ms[pool.best] > self._service.now_ms(pool, now_ns):
            self._service.learn(seen_ms, pool, now_ns, retry=flight.retry)

    def unreachable(self, now_ns: int) -> None:
        """It is listed but cannot be called."""
        self._gate.unreachable(now_ns)

    def _completed(self, flight: Flight, pool: Middle, now_ns: int) -> list[float]:
        seen_ms = self._service.of_completion(now_ns - flight.sent_ns, flight.ahead)
        errors = self._service.errors(seen_ms, pool, now_ns)
        self._service.learn(seen_ms, pool, now_ns, retry=flight.retry)
        self.answered_ms = self._service.seen_ms
        self._answers += 1
        self._reply_ns = now_ns
        return errors

    def _silent(self, now_ns: int) -> bool:
        oldest = next(iter(self.flights), None)
        if oldest is None or self._reply_ns > oldest.sent_ns:
            return False
        silence_ms = max(self._config.silence_ms, self._config.silence * oldest.expected_ms)
        return now_ns - oldest.sent_ns > silence_ms * NS_PER_MS

    def _overdue_ms(self, pool: Middle, now_ns: int) -> float:
        oldest = next(iter(self.flights), None)
        if oldest is None:
            return 0.0
        return self._service.of_completion(now_ns - oldest.sent_ns, oldest.ahead)[pool.best]
