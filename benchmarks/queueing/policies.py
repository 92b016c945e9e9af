"""What a router is to the simulation, and the peers that need no learning."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple, Protocol, runtime_checkable

from benchmarks.queueing.pool import Pool
from models.forecast import LoadReport
from routing.load import Outcome


class Choice(NamedTuple):
    """The number of a replica, what was promised if anything, and what the policy wants to see again."""

    replica: int
    p_meet: float = 1.0
    record: Any = None


class Ended(NamedTuple):
    """What a router learns of a call: the time from send to end, and the replica's report if it answered."""

    replica: int
    outcome: Outcome
    elapsed_ms: float
    report: LoadReport | None


class Policy(Protocol):
    """One router. Several of them share nothing but the replicas."""

    def choose(self, *, budget_ms: float, now_ms: float) -> Choice | None:
        """A replica for a request that has so long to go; None refuses it."""
        ...

    def sent(self, choice: Choice, *, now_ms: float) -> Any:
        """The call is on its way; what is returned comes back with `finished`."""
        ...

    def finished(self, flight: Any, ended: Ended, *, now_ms: float) -> None:
        """The call has ended."""
        ...


@runtime_checkable
class Hedging(Protocol):
    """A policy that may send a second call for a request that is still out."""

    def look_after_ms(self, choice: Choice, *, now_ms: float) -> float | None:
        """How long after its send to look at a call that is still out; None: not at all."""
        ...

    def look_again_ms(self, choice: Choice, *, elapsed_ms: float) -> float | None:
        """How much later to look once more, if there was no second call; None: not at all."""
        ...

    def second(self, choice: Choice, *, elapsed_ms: float, budget_ms: float, now_ms: float) -> Choice | None:
        """Where to send a second call now, with so long to go; None for nowhere."""
        ...


MakePolicy = Callable[[Pool, Random], Policy]


class Oracle:
    """Central and all-knowing: true queues, calls of all routers on the way included, and true mean speeds.

    Least expected completion, ties at random. It does not know the draws of single calls.
    """

    def __init__(self, pool: Pool, rng: Random) -> None:
        self._pool = pool
        self._rng = rng

    def choose(self, *, budget_ms: float, now_ms: float) -> Choice:  # noqa: ARG002 - it needs neither
        return Choice(least(self._pool.expected_ms(), self._rng))

    def sent(self, choice: Choice, *, now_ms: float) -> None:
        """It sees the replicas themselves."""

    def finished(self, flight: Any, ended: Ended, *, now_ms: float) -> None:
        """It sees the replicas themselves."""


class LeastQueue:
    """The replica with the fewest calls as last heard, own sends since then included; ties at random."""

    def __init__(self, pool: Pool, rng: Random) -> None:
        self._heard = [0.0] * len(pool.replicas)
        self._rng = rng

    def choose(self, *, budget_ms: float, now_ms: float) -> Choice:  # noqa: ARG002 - blind to time
        return Choice(least(self._heard, self._rng))

    def sent(self, choice: Choice, *, now_ms: float) -> None:  # noqa: ARG002
        self._heard[choice.replica] += 1

    def finished(self, flight: Any, ended: Ended, *, now_ms: float) -> None:  # noqa: ARG002
        if ended.report is not None:
            self._heard[ended.replica] = ended.report.queued + ended.report.in_service


class PowerOfTwo(LeastQueue):
    """The same among two replicas drawn at random: the idea of Ray's default router."""

    def choose(self, *, budget_ms: float, now_ms: float) -> Choice:  # noqa: ARG002 - blind to time
        one, other = self._rng.sample(range(len(self._heard)), 2)
        return Choice(one if self._heard[one] <= self._heard[other] else other)


def least(values: list[float], rng: Random) -> int:
    """The place of the smallest value, at random among equals."""
    smallest = min(values)
    places = [place for place, value in enumerate(values) if value == smallest]
    return places[0] if len(places) == 1 else rng.choice(places)
