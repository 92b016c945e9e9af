"""Exploration: rarely, only inside the feasible set, only with time to spare, and said so."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings

from models.decision import Decision
from models.errors import RoutingError
from routing.catalogue import Catalogue
from routing.engine import Engine
from routing.profiles import Profiles, load_profiles
from tests.unit.routing.beliefs import CARD, ns
from tests.unit.routing.worlds import PROFILES_YAML, World, a_decision, a_table, holding, wants, worlds

SHARE, SLACK = 0.1, 0.5
TRIALS = 4000


def exploring(slack: float = SLACK) -> Profiles:
    """The shipped profiles, each of which explores."""
    explore = f"    picker: best\n    explore: {{share: {SHARE}, slack: {slack}}}\n"
    return load_profiles(PROFILES_YAML.read_text().replace("    picker: best\n", explore))


EXPLORER = Engine(exploring())


def tried(within_ms: float) -> list[Decision]:
    """Decisions between an idle replica, a busy one and a very busy one, for one model of 10 ms."""
    table = a_table({name: holding(CARD) for name in ("idle", "busy", "full")})
    for replica, calls in (("busy", 2), ("full", 40)):
        for _ in range(calls):
            table.sent(a_decision(replica, CARD), rows=1, now_ns=ns())
    load, catalogue, rng = table.snapshot(ns()), Catalogue.of([CARD], version=1), Random(5)
    wanted = wants(within_ms=within_ms)
    return [EXPLORER.decide(wanted, catalogue, load, now_ns=ns(), rng=rng) for _ in range(TRIALS)]


def test_explores_its_share_of_requests_and_says_so() -> None:
    """With time to spare a tenth of the requests goes to another replica; the flag tells which."""
    decisions = tried(10_000.0)
    elsewhere = [decision for decision in decisions if decision.replica != "idle"]

    assert len(elsewhere) / TRIALS == pytest.approx(SHARE, abs=0.015)
    assert all(decision.explored == (decision.replica != "idle") for decision in decisions)
    assert {decision.replica for decision in elsewhere} == {"busy", "full"}


def test_explores_only_where_the_quantile_leaves_time_unused() -> None:
    """A replica whose quantile takes more than its slack of the deadline is not tried for the sake of it."""
    decisions = tried(200.0)

    assert {decision.replica for decision in decisions} == {"idle", "busy"}
    assert all(
        decision.promise.quantile_ms <= SLACK * decision.budget_ms
        for decision in decisions
        if decision.explored
    )


def test_does_not_explore_under_a_tight_deadline() -> None:
    """Where only the best has time to spare, the best it is."""
    assert {decision.replica for decision in tried(50.0)} == {"idle"}


@settings(max_examples=100, deadline=None)
@given(worlds())
def test_explored_choice_is_feasible_in_every_world(world: World) -> None:
    """It is among the pairs that fit, for the same model as the best, and never one that was tried before.
    Where none fits nobody explores; one that is doubted may be asked.
    """
    load = world.table().snapshot(world.now_ns)
    for seed in range(20):
        try:
            decision = EXPLORER.decide(
                world.wanted,
                world.catalogue(),
                load,
                now_ns=world.now_ns,
                rng=Random(seed),
                exclude=world.exclude,
            )
        except RoutingError:
            return
        view = next(
            view
            for view in decision.shortlist
            if (view.model, view.replica) == (str(decision.chosen), decision.replica)
        )
        assert decision.replica not in world.exclude
        if not any(other.feasible for other in decision.shortlist):
            return
        assert view.feasible
        if decision.explored:
            assert view.quantile_ms <= SLACK * decision.budget_ms
            best = max(decision.shortlist, key=lambda row: row.score)
            assert view.score <= best.score + 1e-9


def test_shipped_profiles_do_not_explore() -> None:
    """Off until it is measured to be worth its cost."""
    shipped = load_profiles(PROFILES_YAML.read_text())

    assert {shipped.named(name).explore.share for name in shipped.names} == {0.0}
