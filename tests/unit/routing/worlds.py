"""Small worlds to decide in, by hand and generated: cards, replicas, a history of calls and a request."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

from hypothesis import strategies as st

from models.card import Bounded, Evidence, ModelCard, ModelStatus, WarmProfile
from models.decision import Decision, Promise
from models.forecast import LoadReport
from models.request import Requirements
from models.task import INTERVAL_LEVELS, DataSize
from routing.catalogue import Catalogue
from routing.load import LoadConfig, LoadTable, Outcome, ReplicaMeta
from routing.profiles import Profiles, load_profiles
from tests.support.cards import a_card

START_MS: Final = 1_700_000_000_000
PROFILES_YAML: Final = Path(__file__).parents[3] / "config" / "profiles.yaml"
PROFILE_NAMES: Final = (
    "performance_optimized",
    "accuracy_optimized",
    "cost_optimized",
    "balanced",
    "tightest_fit",
)


def the_profiles() -> Profiles:
    """The profiles that are shipped."""
    return load_profiles(PROFILES_YAML.read_text())


def wants(now_ms: int = START_MS, *, within_ms: float = 1000.0, **changes: Any) -> Requirements:
    """A request for one small forecast that arrives now."""
    fields: dict[str, Any] = {
        "task": "time_series_forecast",
        "rows": 1,
        "data_size": DataSize.SMALL,
        "deadline_ns": now_ms * 1_000_000 + int(within_ms * 1e6),
    }
    return Requirements(**fields | changes)


def holding(*cards: ModelCard, pool: str = "pool", hardware: str = "cpu", slots: int = 1) -> ReplicaMeta:
    """A replica that holds the cards' models and reports their own warm profiles."""
    return ReplicaMeta(pool, hardware, slots, {str(card.key): list(card.warm) for card in cards})


def a_table(replicas: Mapping[str, ReplicaMeta], config: LoadConfig | None = None) -> LoadTable:
    """A load table that knows the replicas and nothing else."""
    table = LoadTable(config)
    for pool in sorted({meta.pool for meta in replicas.values()}):
        members = [(name, meta) for name, meta in replicas.items() if meta.pool == pool]
        table.replicas_updated(pool, members, now_ns=START_MS * 1_000_000)
    return table


def a_decision(
    replica: str, card: ModelCard, *, expected_ms: float = 10.0, budget_ms: float = 100.0
) -> Decision:
    """A decision for a replica, as far as the load table reads it."""
    return Decision(
        decision_id="d",
        decided_ns=0,
        profile="balanced",
        config_id="c",
        catalogue_version=0,
        evidence_cursor=-1,
        seed=0,
        attempt=1,
        budget_ms=budget_ms,
        candidates=1,
        filters=(),
        shortlist=(),
        chosen=card.key,
        pool="pool",
        replica=replica,
        promise=Promise(
            expected_ms=expected_ms,
            quantile_ms=expected_ms,
            p_meet=1.0,
            interval_level=0.9,
            coverage_lower=0.9,
            skill_lower=0.0,
        ),
        reason="made for a test",
    )


def a_report(replica: str, *, seq: int = 1, boot: str = "boot", **changes: Any) -> LoadReport:
    """A report of an idle replica with one slot, on a call that took 10 ms."""
    fields: dict[str, Any] = {
        "queued": 0,
        "in_service": 0,
        "slots": 1,
        "service_ms": 10.0,
        "queue_ms": 0.0,
        "rows": 1,
    }
    return LoadReport(replica=replica, boot=boot, seq=seq, **fields | changes)


@dataclass(frozen=True)
class Call:
    """One past call: sent, answered `elapsed_ms` later (or never), after a pause of `pause_ms`."""

    replica: str
    card: ModelCard
    rows: int
    expected_ms: float
    budget_ms: float
    pause_ms: int
    elapsed_ms: int
    outcome: Outcome | None
    report: LoadReport | None


@dataclass(frozen=True, repr=False)
class World:
    """Everything a decision depends on. Shown as the call that makes it again."""

    cards: list[ModelCard]
    replicas: dict[str, ReplicaMeta]
    calls: list[Call]
    wanted: Requirements
    now_ms: int
    exclude: frozenset[str]
    seed: int

    def __repr__(self) -> str:
        counts = f"models={len(self.cards)}, replicas={len(self.replicas)}, calls={len(self.calls)}"
        return f"world_of({self.seed}, {counts})"

    def _repr_pretty_(self, printer: Any, cycle: object) -> None:
        """What Hypothesis prints of a failing world; by itself it would unfold every card."""
        printer.text(repr(self))

    @property
    def now_ns(self) -> int:
        """The moment of the decision."""
        return self.now_ms * 1_000_000

    def catalogue(self) -> Catalogue:
        """The cards, compiled."""
        return Catalogue.of(self.cards, version=7)

    def table(self) -> LoadTable:
        """A load table that went through the calls."""
        table = a_table(self.replicas)
        now_ms = START_MS
        for call in self.calls:
            now_ms += call.pause_ms
            decision = a_decision(
                call.replica, call.card, expected_ms=call.expected_ms, budget_ms=call.budget_ms
            )
            flight = table.sent(decision, rows=call.rows, now_ns=now_ms * 1_000_000)
            if call.outcome is not None:
                now_ms += call.elapsed_ms
                table.finished(
                    flight,
                    outcome=call.outcome,
                    elapsed_ms=call.elapsed_ms,
                    now_ns=now_ms * 1_000_000,
                    report=call.report,
                )
        return table

    def rng(self) -> Random:
        """A fresh source of randomness; always the same one."""
        return Random(self.seed)


def _ms(rng: Random) -> float:
    return rng.uniform(0.1, 60.0)


def _bound(lower: float) -> Bounded:
    return Bounded(value=lower, lower=lower, upper=lower, n=100)


def _card(rng: Random, number: int) -> ModelCard:
    """A card with everything that routing reads of it at random."""
    base = a_card(f"m{number}", cost=rng.choice([0.0, 0.5, 1.0, 4.0]))
    contract = {
        "horizon_ms": rng.choice([60_000, 60_000, 60_000, 300_000]),
        "instruments": rng.choice([("*",), ("*",), ("EURUSD",), ("EURUSD", "NZDUSD")]),
    }
    measured = rng.choice([("*",), ("*", "EURUSD"), ("NZDUSD",)])
    return base.model_copy(
        update={
            "status": rng.choice([*[ModelStatus.LIVE] * 5, ModelStatus.LOAD_ONLY]),
            "max_size": rng.choice([*DataSize, DataSize.LARGE, DataSize.LARGE]),
            "contract": base.contract.model_copy(update=contract),
            "warm": tuple(
                _warm(rng, rows) for rows in rng.choice([(), (1,), (1, 8), (8, 256), (1, 8, 4096)])
            ),
            "evidence": tuple(_evidence(rng, base.evidence[0], instrument) for instrument in measured),
        }
    )


def _warm(rng: Random, rows: int) -> WarmProfile:
    p50_ms = _ms(rng)
    return WarmProfile(rows=rows, p50_ms=p50_ms, p99_ms=p50_ms * rng.choice([1.0, 1.5, 4.0]), n=100)


def _evidence(rng: Random, base: Evidence, instrument: str) -> Evidence:
    coverage = {f"{level:.2f}": _bound(min(1.0, level + rng.uniform(-0.4, 0.2))) for level in INTERVAL_LEVELS}
    skill = _bound(rng.choice([-0.1, 0.0, 0.02, 0.05]))
    return base.model_copy(update={"instrument": instrument, "coverage": coverage, "skill": skill})


def _call(rng: Random, replicas: list[str], models: list[ModelCard], seq: int) -> Call:
    """A call whose report may be missing, stale, of another boot or absurd."""
    replica = rng.choice(replicas)
    report = a_report(
        replica,
        seq=max(0, seq - rng.choice([0, 0, 0, 1, 2])),
        boot=rng.choice("aaaab"),
        queued=rng.choice([-1, 0, 1, 5]),
        in_service=rng.randrange(4),
        slots=rng.randrange(1, 4),
        service_ms=rng.choice([_ms(rng), _ms(rng), _ms(rng), 0.0, -1.0, math.nan, 1e9]),
        queue_ms=rng.choice([0.0, 3.0]),
    )
    return Call(
        replica=replica,
        card=rng.choice(models),
        rows=rng.choice([1, 8, 9, 300]),
        expected_ms=_ms(rng),
        budget_ms=rng.choice([50.0, 500.0]),
        pause_ms=rng.choice([0, 1, 200, 2500]),
        elapsed_ms=rng.randrange(81),
        outcome=rng.choice([None, Outcome.OK, Outcome.OK, *Outcome]),
        report=rng.choice([None, report, report]),
    )


def _replica(rng: Random, models: list[ModelCard]) -> ReplicaMeta:
    return holding(
        *rng.sample(models, rng.randint(1, len(models))),
        pool=rng.choice(["near", "far"]),
        hardware=rng.choice(["cpu", "cpu", "gpu"]),
        slots=rng.randint(1, 3),
    )


def _wanted(rng: Random, now_ms: int) -> Requirements:
    size = rng.choice([DataSize.SMALL, DataSize.SMALL, DataSize.MEDIUM, DataSize.LARGE])
    return wants(
        now_ms,
        within_ms=rng.choice([5.0, 50.0, 200.0, 1000.0, 1000.0, 10_000.0]),
        rows=rng.choice([1, size.max_rows]),
        data_size=size,
        profile=rng.choice(PROFILE_NAMES),
        min_accuracy=rng.choice([None, None, rng.uniform(0.05, 0.99)]),
        instruments=rng.choice([(), (), ("EURUSD",), ("EURUSD",), ("NZDUSD",), ("EURUSD", "NZDUSD")]),
        horizon_ms=rng.choice([None, None, None, 60_000, 300_000]),
        model=rng.choice([None, None, None, None, "m0", "m1"]),
    )


def world_of(seed: int, *, models: int, replicas: int, calls: int) -> World:
    """The world of a seed; fewer models, replicas or calls of one seed leave the others as they are."""
    cards = [_card(Random(f"{seed} card {number}"), number) for number in range(models)]
    names = [f"r{number}" for number in range(replicas)]
    history = [_call(Random(f"{seed} call {seq}"), names, cards, seq) for seq in range(calls)]
    took_ms = sum(call.pause_ms + (call.elapsed_ms if call.outcome else 0) for call in history)
    rng = Random(f"{seed} request")
    now_ms = START_MS + took_ms + rng.choice([0, 1, 300, 20_000])
    return World(
        cards=cards,
        replicas={name: _replica(Random(f"{seed} {name}"), cards) for name in names},
        calls=history,
        wanted=_wanted(rng, now_ms),
        now_ms=now_ms,
        exclude=frozenset(rng.sample(names, rng.choice([0, 0, 0, 1]))),
        seed=seed,
    )


def worlds() -> st.SearchStrategy[World]:
    """Worlds of up to four models on up to five replicas, with a history of up to 25 calls."""
    return st.builds(
        world_of,
        st.integers(0, 1 << 32),
        models=st.integers(1, 4),
        replicas=st.integers(1, 5),
        calls=st.integers(0, 25),
    )
