"""The engine against the brute-force oracle, and what it says when there is no choice."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings

from models.card import ModelCard, ModelStatus
from models.decision import Decision
from models.errors import DeadlineExpired, NoModelMatches, NothingFeasible, RoutingError, UnknownProfile
from models.task import DataSize
from routing.catalogue import Catalogue
from routing.engine import Engine
from tests.support.cards import a_card
from tests.unit.routing import oracle
from tests.unit.routing.worlds import (
    PROFILE_NAMES,
    START_MS,
    World,
    a_decision,
    a_table,
    holding,
    the_profiles,
    wants,
    worlds,
)

NOW_NS = START_MS * 1_000_000
ENGINE = Engine(the_profiles())


def decided(world: World, engine: Engine = ENGINE) -> Decision | RoutingError:
    """The decision in a world, or the refusal."""
    try:
        return engine.decide(
            world.wanted,
            world.catalogue(),
            world.table().snapshot(world.now_ns),
            now_ns=world.now_ns,
            rng=world.rng(),
            exclude=world.exclude,
        )
    except RoutingError as error:
        return error


@settings(max_examples=150, deadline=None)
@given(worlds())
def test_agrees_with_the_oracle(world: World) -> None:
    """Same eligible models, same candidates with the same numbers and scores, same choice, in every world."""
    verdict = oracle.decide(world, world.table().snapshot(world.now_ns))
    decision = decided(world)

    if not verdict.models:
        assert isinstance(decision, NoModelMatches)
        return
    if verdict.doubted:
        assert isinstance(decision, Decision)
        assert (str(decision.chosen), decision.replica) in verdict.doubted
        assert decision.explored
        assert decision.promise.quantile_ms > decision.budget_ms
        return
    if not verdict.best:
        assert isinstance(decision, NothingFeasible)
        assert decision.retry_after_s
        assert decision.details["best_p_meet"] == pytest.approx(
            max((p.p_meet for p in verdict.pairs), default=0)
        )
        return
    assert isinstance(decision, Decision)
    assert (str(decision.chosen), decision.replica) in verdict.best
    assert decision.panic == verdict.panic
    views = {(view.model, view.replica): view for view in decision.shortlist}
    assert views.keys() == {(pair.model, pair.replica) for pair in verdict.pairs}
    for pair in verdict.pairs:
        view = views[pair.model, pair.replica]
        assert view.expected_ms == pytest.approx(pair.expected_ms, rel=1e-9)
        assert view.quantile_ms == pytest.approx(pair.quantile_ms, rel=1e-9)
        assert view.p_meet == pytest.approx(pair.p_meet)
        assert view.feasible == pair.feasible
        assert view.score == pytest.approx(pair.score if pair.feasible else 0.0, abs=1e-9)
    level = next(p.level for p in verdict.pairs if p.model == str(decision.chosen))
    assert decision.promise.interval_level == level


@settings(max_examples=40, deadline=None)
@given(worlds())
def test_same_inputs_and_seed_give_the_same_decision(world: World) -> None:
    """A new engine decides like one that kept candidates of other requests, to the last bit."""
    first, second = decided(world), decided(world, Engine(the_profiles()))

    if isinstance(first, Decision) and isinstance(second, Decision):
        assert first == second
    else:
        assert isinstance(first, RoutingError)
        assert str(first) == str(second)


@settings(max_examples=40, deadline=None)
@given(worlds())
def test_promise_is_that_of_the_chosen_and_is_kept_in_the_record(world: World) -> None:
    """The promise equals the chosen candidate's numbers, and a decision survives its JSON."""
    decision = decided(world)

    if isinstance(decision, Decision):
        chosen = next(
            view
            for view in decision.shortlist
            if (view.model, view.replica) == (str(decision.chosen), decision.replica)
        )
        assert decision.promise.p_meet == chosen.p_meet
        assert decision.promise.quantile_ms == chosen.quantile_ms
        assert chosen.feasible == (chosen.quantile_ms <= decision.budget_ms)
        assert chosen.p_meet >= 0.95 if chosen.feasible else decision.explored
        record = decision.model_dump_json()
        assert Decision.model_validate_json(record) == decision
        assert Decision.model_validate_json(record).model_dump_json() == record


@settings(max_examples=40, deadline=None)
@given(worlds())
def test_filters_account_for_every_model_and_every_pair(world: World) -> None:
    """What the filters removed and what was evaluated add up to all there was."""
    decision = decided(world)

    if isinstance(decision, Decision):
        removed = {count.name: count.removed for count in decision.filters}
        late_or_tried = removed["deadline"] + removed["excluded"]
        assert decision.candidates == late_or_tried + sum(view.feasible for view in decision.shortlist)
        models = len(world.cards) - sum(
            removed[name]
            for name in ("task", "status", "entitlement", "instrument", "horizon", "size", "accuracy")
        )
        load = world.table().snapshot(world.now_ns)
        assert models == len(oracle.decide(world, load).models)
        assert all((count.removed > 0) == (count.example is not None) for count in decision.filters)


@pytest.mark.parametrize("profile", PROFILE_NAMES)
def test_ties_are_broken_by_the_given_randomness(profile: str) -> None:
    """Four equal replicas are each chosen about equally often, and the seed is on the record."""
    card = a_card()
    load = a_table({f"r{i}": holding(card) for i in range(4)}).snapshot(NOW_NS)
    catalogue, rng = Catalogue.of([card], version=1), Random(3)
    decisions = [
        ENGINE.decide(wants(profile=profile), catalogue, load, now_ns=NOW_NS, rng=rng) for _ in range(400)
    ]

    shares = [sum(d.replica == f"r{i}" for d in decisions) / 400 for i in range(4)]

    assert min(shares) > 0.18
    assert len({d.seed for d in decisions}) == len({d.decision_id for d in decisions}) == 400


@pytest.mark.parametrize(
    ("changes", "requirement", "best"),
    [
        ({"task": "translate"}, "task", ["time_series_forecast"]),
        ({"model": "gru"}, "model", ["mlp", "ridge"]),
        ({"instruments": ("XAUUSD",)}, "symbol", ["EURUSD", "NZDUSD"]),
        ({"horizon_ms": 1}, "horizon_ms", [{"bar_ms": 10_000, "horizon_ms": 60_000}]),
        ({"data_size": DataSize.LARGE}, "data_size", "medium"),
        ({"min_accuracy": 0.999}, "min_accuracy", {"min_accuracy": 0.985, "model": "mlp@1"}),
        ({"tier": "free"}, "tier", ["pro"]),
    ],
)
def test_impossible_requirement_is_named_with_the_best_on_offer(
    changes: dict[str, Any], requirement: str, best: object
) -> None:
    """The refusal says which requirement removed every model, what was asked, and what could be had."""
    cards = [
        card.model_copy(
            update={
                "max_size": DataSize.MEDIUM,
                "contract": card.contract.model_copy(update={"instruments": (symbol,)}),
            }
        )
        for card, symbol in ((a_card("mlp"), "EURUSD"), (a_card("ridge"), "NZDUSD"))
    ]
    catalogue = Catalogue.of(cards, version=1, entitlements={"pro": frozenset({"mlp", "ridge"})})
    load = a_table({"r": holding(*cards)}).snapshot(NOW_NS)
    wanted = wants(**{"tier": "pro"} | changes)

    with pytest.raises(NoModelMatches, match=requirement) as caught:
        ENGINE.decide(wanted, catalogue, load, now_ns=NOW_NS, rng=Random(1))

    assert caught.value.field == requirement
    assert caught.value.details["requirement"] == requirement
    assert caught.value.details["best_available"] == best
    assert not caught.value.retryable


def test_load_only_model_answers_only_when_named() -> None:
    """Ballast is skipped, and used when the request names it."""
    ballast = a_card("gru", skill=0.5).model_copy(update={"status": ModelStatus.LOAD_ONLY})
    live = a_card("ridge", skill=0.0)
    catalogue = Catalogue.of([ballast, live], version=1)
    load = a_table({"r": holding(ballast, live)}).snapshot(NOW_NS)

    chosen = [
        ENGINE.decide(wants(model=name), catalogue, load, now_ns=NOW_NS, rng=Random(1)).chosen.name
        for name in (None, "gru")
    ]

    assert chosen == ["ridge", "gru"]


@pytest.mark.parametrize(
    ("asked", "chosen"), [(None, "1"), ("ridge", "1"), ("ridge@2", "2"), ("ridge@3", "3")]
)
def test_versions_that_are_not_live_answer_only_when_named(asked: str | None, chosen: str) -> None:
    """A candidate beside a live version gets no traffic by its name alone."""
    statuses = (ModelStatus.LIVE, ModelStatus.CANDIDATE, ModelStatus.DEMOTED)
    cards = [
        a_card("ridge", str(number), skill=number / 10).model_copy(update={"status": status})
        for number, status in enumerate(statuses, start=1)
    ]
    catalogue, load = Catalogue.of(cards, version=1), a_table({"r": holding(*cards)}).snapshot(NOW_NS)

    decision = ENGINE.decide(wants(model=asked), catalogue, load, now_ns=NOW_NS, rng=Random(1))

    assert decision.chosen.version == chosen


def test_unknown_profile_names_the_known_ones() -> None:
    """A wrong `routing_strategy` is the caller's mistake and lists what there is."""
    with pytest.raises(UnknownProfile, match="performance_optimized") as caught:
        ENGINE.decide(
            wants(profile="fastest"),
            Catalogue.of([a_card()], version=1),
            a_table({}).snapshot(NOW_NS),
            now_ns=NOW_NS,
            rng=Random(1),
        )

    assert caught.value.field == "routing_strategy"


def test_past_deadline_is_refused_before_any_work() -> None:
    """A deadline that has passed is DeadlineExpired, whatever else is wrong."""
    with pytest.raises(DeadlineExpired, match=r"5\.0 ms before"):
        ENGINE.decide(
            wants(within_ms=-5.0),
            Catalogue.of([], version=-1),
            a_table({}).snapshot(NOW_NS),
            now_ns=NOW_NS,
            rng=Random(1),
        )


@pytest.mark.parametrize("known", [[], [a_card()]])
def test_nothing_to_run_on_is_worth_another_try(known: list[ModelCard]) -> None:
    """An empty catalogue, or models that no replica holds, is a matter of time and not of the request."""
    with pytest.raises(NothingFeasible) as caught:
        ENGINE.decide(
            wants(),
            Catalogue.of(known, version=1),
            a_table({}).snapshot(NOW_NS),
            now_ns=NOW_NS,
            rng=Random(1),
        )

    assert caught.value.retryable
    assert caught.value.retry_after_s


def test_refusal_says_when_the_queue_will_have_drained() -> None:
    """With 100 calls of 10 ms ahead, a deadline of 50 ms is feasible again after a little over a second."""
    card = a_card(warm_ms=10.0)
    table = a_table({"r": holding(card)})
    for _ in range(100):
        table.sent(a_decision("r", card), rows=1, now_ns=NOW_NS)

    with pytest.raises(NothingFeasible) as caught:
        ENGINE.decide(
            wants(within_ms=50.0),
            Catalogue.of([card], version=1),
            table.snapshot(NOW_NS),
            now_ns=NOW_NS,
            rng=Random(1),
        )

    assert caught.value.retry_after_s == pytest.approx(1.25, abs=0.2)
    assert caught.value.details["best_p_meet"] < 0.05


def test_second_attempt_goes_elsewhere() -> None:
    """An excluded replica is not chosen, is counted with the reason, and the attempt is on the record."""
    card = a_card()
    catalogue = Catalogue.of([card], version=1)
    load = a_table({"a": holding(card), "b": holding(card)}).snapshot(NOW_NS)

    decision = ENGINE.decide(wants(), catalogue, load, now_ns=NOW_NS, rng=Random(1), exclude={"a"}, attempt=2)

    assert (decision.replica, decision.attempt) == ("b", 2)
    excluded = next(count for count in decision.filters if count.name == "excluded")
    assert (excluded.removed, excluded.reason) == (1, "already tried")


def test_every_replica_tried_is_nothing_feasible() -> None:
    """When all candidates are excluded there is nothing left to try."""
    card = a_card()
    load = a_table({"a": holding(card)}).snapshot(NOW_NS)

    with pytest.raises(NothingFeasible, match="no replica"):
        ENGINE.decide(
            wants(), Catalogue.of([card], version=1), load, now_ns=NOW_NS, rng=Random(1), exclude={"a"}
        )


def test_kept_candidates_follow_catalogue_placement_and_ejections() -> None:
    """Candidates kept from an earlier decision never outlive what they were made from."""
    old, new = a_card("old", skill=0.01), a_card("new", skill=0.09)
    engine = Engine(the_profiles())
    table = a_table({"a": holding(old, new)})

    def choose(catalogue: Catalogue, now_ns: int = NOW_NS) -> tuple[str, str]:
        wanted = wants(now_ns // 1_000_000, profile="accuracy_optimized")
        decision = engine.decide(wanted, catalogue, table.snapshot(now_ns), now_ns=now_ns, rng=Random(1))
        return decision.chosen.name, decision.replica

    first, second = Catalogue.of([old], version=1), Catalogue.of([old, new], version=2)
    assert choose(first) == ("old", "a")
    assert choose(second) == ("new", "a")
    table.replicas_updated("pool", [("b", holding(new)), ("c", holding(new))], now_ns=NOW_NS)
    assert choose(second)[1] in {"b", "c"}
    table.unreachable("b", now_ns=NOW_NS)
    assert choose(second)[1] == "c"


def test_ejected_replica_is_back_when_its_time_is_over() -> None:
    """Nothing has to happen for it: kept candidates end with the first ejection they left out."""
    card = a_card()
    catalogue, table = Catalogue.of([card], version=1), a_table({"a": holding(card), "b": holding(card)})
    table.unreachable("a", now_ns=NOW_NS)

    def chosen(later_ms: int) -> set[str]:
        now_ms, now_ns = START_MS + later_ms, NOW_NS + later_ms * 1_000_000
        load = table.snapshot(now_ns)
        return {
            ENGINE.decide(wants(now_ms), catalogue, load, now_ns=now_ns, rng=Random(seed)).replica
            for seed in range(20)
        }

    assert [chosen(later_ms) for later_ms in (0, 5999, 6000)] == [{"b"}, {"b"}, {"a", "b"}]


@pytest.mark.parametrize("replicas", [1, 64, 65, 200])
def test_shortlist_is_bounded_and_holds_the_choice(replicas: int) -> None:
    """At most 64 rows are shown, best first, and the chosen one is among them."""
    card = a_card()
    load = a_table({f"r{i}": holding(card) for i in range(replicas)}).snapshot(NOW_NS)

    decision = ENGINE.decide(wants(), Catalogue.of([card], version=1), load, now_ns=NOW_NS, rng=Random(1))

    assert len(decision.shortlist) == min(64, replicas)
    assert decision.candidates == replicas
    assert list(decision.shortlist) == sorted(decision.shortlist, key=lambda view: -view.score)
