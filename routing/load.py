"""What this process believes of every replica, and the snapshot of it that a decision is made on.

Who writes: Serve's router thread says which replicas there are (`replicas_updated`, `unreachable`); the
routed client says what it sent and what became of it (`sent`, `finished`). Several of either may exist, so
every method takes the one lock. Who reads: each decision takes a `snapshot`, which nobody changes afterwards.

Freshness costs no call: own sends and completions are counted here, everything else rides on replies. Beliefs
are a function of the changes told and of the moment asked for; snapshots in between change nothing, so that a
journal of the changes makes them again, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

from models.decision import Decision
from models.forecast import LoadReport
from routing.beliefs.changes import Change, Finished, Looked, ReplicasUpdated, Sent, Unreachable
from routing.beliefs.outcome import Outcome
from routing.beliefs.placement import ReplicaMeta, size_of
from routing.beliefs.snapshot import Ended, Flight, LoadConfig, LoadSnapshot
from routing.beliefs.state import Beliefs
from routing.latency import SURE, Spread

__all__ = ["Flight", "LoadConfig", "LoadSnapshot", "LoadTable", "Outcome", "ReplicaMeta"]


class LoadTable:
    """The beliefs of one process. Every public method may be called from any thread."""

    def __init__(self, config: LoadConfig | None = None) -> None:
        self._lock = Lock()
        self._listener: Callable[[Change], None] | None = None
        self._beliefs = Beliefs(config or LoadConfig())
        self._flights = 0

    def journal(self, listener: Callable[[Change], None] | None) -> dict[str, Any]:
        """Tell the listener every change from now on, under the table's lock; returns the state before them.

        None ends the telling.
        """
        with self._lock:
            self._listener = listener
            state = self._export()
            self._restore(
                state, self._beliefs.now_ms
            )  # go on from what is told, or the last bits would differ
            return state

    def replicas_updated(
        self, pool: str, replicas: Sequence[tuple[str, ReplicaMeta]], *, now_ns: int
    ) -> None:
        """A pool consists of exactly these replicas now. What is known of those that stay is kept."""
        with self._lock:
            self._tell(lambda: ReplicasUpdated(pool, tuple(replicas), now_ns))
            before = {name: belief.meta for name, belief in self._beliefs.replicas.items()}
            others = {name: meta for name, meta in before.items() if meta.pool != pool}
            metas = others | dict(replicas)
            if metas != before:
                self._beliefs.placed(metas, now_ns / 1e6)

    def replicas(self, pool: str) -> tuple[str, ...]:
        """Ids of the replicas a pool has."""
        with self._lock:
            known = self._beliefs.replicas.items()
            return tuple(sorted(name for name, belief in known if belief.meta.pool == pool))

    def spread(self, replica: str, model: str, *, rows: int) -> Spread:
        """How far completions of a model on a replica, as it stands now, lie from what was predicted."""
        with self._lock:
            placement = self._beliefs.placement
            number = placement.index.get(replica)
            group = None if number is None else placement.group_of(number, model)
            if number is None or group is None:
                return SURE
            return self._beliefs.spread((group, size_of(rows), self._beliefs.standings[number].depth))

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
                doubted=promise.quantile_ms > decision.budget_ms,
            )
            self._tell(
                lambda: Sent(
                    flight.number,
                    flight.replica,
                    flight.model,
                    rows,
                    flight.expected_ms,
                    promise.quantile_ms,
                    flight.budget_ms,
                    now_ns,
                )
            )
            self._beliefs.departed(flight, now_ns)
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
            self._beliefs.landed(flight, Ended(outcome, elapsed_ms, now_ns / 1e6, report), now_ns)

    def unreachable(self, replica: str, *, now_ns: int) -> None:
        """Take a replica out of the choice for a while: it is listed, but does not answer."""
        with self._lock:
            self._tell(lambda: Unreachable(replica, now_ns))
            self._beliefs.unreachable(replica, now_ns)

    def snapshot(self, now_ns: int) -> LoadSnapshot:
        """Beliefs as of the current few milliseconds; the same object until something changes."""
        with self._lock:
            if self._beliefs.settled(now_ns / 1e6):
                self._tell(lambda: Looked(now_ns))
            return self._beliefs.snapshot()

    def export(self) -> dict[str, Any]:
        """Every belief, as JSON can hold it; `restore` makes an equal table of it."""
        with self._lock:
            return self._export()

    def restore(self, state: dict[str, Any], *, now_ns: int) -> None:
        """Take the beliefs of an exported table and forget all others. Calls in flight there can end here."""
        with self._lock:
            self._restore(state, now_ns / 1e6)

    def _restore(self, state: dict[str, Any], now_ms: float) -> None:
        self._beliefs.restore(state, now_ms)
        self._flights = state["flights"]

    def _export(self) -> dict[str, Any]:
        return {**self._beliefs.export(), "flights": self._flights}

    def _tell(self, change: Callable[[], Change]) -> None:
        if self._listener is not None:
            self._listener(change())


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
