"""The shipped engine and load table as one router, driven as `RoutedClient` drives them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from random import Random
from typing import Final

from benchmarks.queueing.policies import Choice, Ended
from benchmarks.queueing.pool import Pool
from models.decision import Decision
from models.errors import NothingFeasible
from models.request import Requirements
from models.task import DataSize
from routing.catalogue import Catalogue
from routing.engine import Engine
from routing.latency import Spread
from routing.load import Flight, LoadConfig, LoadTable, ReplicaMeta
from routing.profiles import load_profiles
from routing.protection.hedging import HedgePolicy
from tests.support.cards import a_card

_PROFILES: Final = load_profiles((Path(__file__).parents[2] / "config" / "profiles.yaml").read_text())
_PROFILE: Final = "performance_optimized"
_START_NS: Final = 1_700_000_000_000_000_000
_LONGEST_MS: Final = 60_000.0
_POOL: Final = "pool"


class Hub:
    """One process: an engine, a load table and a source of randomness of its own."""

    def __init__(
        self, pool: Pool, rng: Random, *, config: LoadConfig | None = None, profile: str = _PROFILE
    ) -> None:
        card = a_card(warm_ms=pool.mean_ms)
        self._rng = rng
        self._engine = Engine(_PROFILES)
        self._catalogue = Catalogue.of([card], version=1)
        self._numbers = {replica.name: replica.number for replica in pool.replicas}
        self._load = LoadTable(config)
        self._load.replicas_updated(
            _POOL,
            [
                (replica.name, ReplicaMeta(_POOL, "cpu", replica.slots, {str(card.key): list(card.warm)}))
                for replica in pool.replicas
            ],
            now_ns=_START_NS,
        )
        self._wanted = Requirements(
            task=card.task, rows=1, data_size=DataSize.SMALL, deadline_ns=_START_NS, profile=profile
        )

    def choose(self, *, budget_ms: float, now_ms: float) -> Choice | None:
        return self.decide(budget_ms=budget_ms, now_ms=now_ms)

    def decide(
        self, *, budget_ms: float, now_ms: float, exclude: Collection[str] = (), attempt: int = 1
    ) -> Choice | None:
        """What the engine chooses; None if it refuses."""
        now_ns = _ns(now_ms)
        deadline_ns = now_ns + int(min(budget_ms, _LONGEST_MS) * 1e6)
        wanted = self._wanted.model_copy(update={"deadline_ns": deadline_ns})
        beliefs = self._load.snapshot(now_ns)
        try:
            decision = self._engine.decide(
                wanted,
                self._catalogue,
                beliefs,
                now_ns=now_ns,
                rng=self._rng,
                exclude=exclude,
                attempt=attempt,
            )
        except NothingFeasible:
            return None
        return Choice(self._numbers[decision.replica], decision.promise.p_meet, decision)

    def sent(self, choice: Choice, *, now_ms: float) -> Flight:
        return self._load.sent(choice.record, rows=1, now_ns=_ns(now_ms))

    def finished(self, flight: Flight, ended: Ended, *, now_ms: float) -> None:
        self._load.finished(
            flight,
            outcome=ended.outcome,
            elapsed_ms=ended.elapsed_ms,
            now_ns=_ns(now_ms),
            report=ended.report,
        )


class HedgingHub(Hub):
    """The same, and may send a second call beside one that is late, as `SecondCalls` does."""

    def __init__(self, pool: Pool, rng: Random) -> None:
        super().__init__(pool, rng)
        self._hedges = HedgePolicy()

    def look_after_ms(self, choice: Choice, *, now_ms: float) -> float | None:
        self._hedges.earn(_ns(now_ms))
        return self._hedges.check_after_ms(choice.record, self._spread(choice.record))

    def look_again_ms(self, choice: Choice, *, elapsed_ms: float) -> float | None:
        return self._hedges.again_after_ms(choice.record, elapsed_ms=elapsed_ms)

    def second(self, choice: Choice, *, elapsed_ms: float, budget_ms: float, now_ms: float) -> Choice | None:
        first = choice.record
        other = self.decide(budget_ms=budget_ms, now_ms=now_ms, exclude={first.replica}, attempt=2)
        if other is None:
            return None
        wanted = self._hedges.should(
            first,
            other.record,
            self._spread(first),
            elapsed_ms=elapsed_ms,
            now_ns=_ns(now_ms),
        )
        return other if wanted else None

    def _spread(self, decision: Decision) -> Spread:
        """How far completions like the one promised lie from their predictions."""
        return self._load.spread(decision.replica, str(decision.chosen), rows=1)


def _ns(now_ms: float) -> int:
    return _START_NS + int(now_ms * 1e6)
