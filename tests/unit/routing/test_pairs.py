"""Looking at the nearest replicas only, and at every (model, replica) pair, leads to the same choice."""

from __future__ import annotations

from collections.abc import Collection
from random import Random

import pytest
from hypothesis import given, settings

from models.decision import Decision
from models.errors import RoutingError
from routing.catalogue import Catalogue
from routing.engine import Engine
from tests.support.cards import a_card
from tests.unit.routing.beliefs import ns
from tests.unit.routing.worlds import (
    PROFILE_NAMES,
    World,
    a_decision,
    a_table,
    holding,
    the_profiles,
    wants,
    worlds,
)

ENGINE = Engine(the_profiles())
NOBODY = frozenset({"nobody"})
"""Excluding a replica that there is not makes the engine look at every pair."""


def decided(world: World, profile: str, exclude: Collection[str]) -> Decision | RoutingError:
    """The decision of a world by another profile, or the refusal."""
    wanted = world.wanted.model_copy(update={"profile": profile})
    load = world.table().snapshot(world.now_ns)
    try:
        return ENGINE.decide(
            wanted, world.catalogue(), load, now_ns=world.now_ns, rng=world.rng(), exclude=exclude
        )
    except RoutingError as error:
        return error


@pytest.mark.parametrize("profile", PROFILE_NAMES)
@settings(max_examples=60, deadline=None)
@given(worlds())
def test_two_stages_choose_as_well_as_all_pairs(profile: str, world: World) -> None:
    """The nearest replica of each cohort, then the model: it scores what the best of all pairs scores."""
    quick, whole = decided(world, profile, ()), decided(world, profile, NOBODY)

    if isinstance(quick, RoutingError) or isinstance(whole, RoutingError):
        assert (type(quick), str(quick)) == (type(whole), str(whole))
        return
    views = {(view.model, view.replica): view for view in whole.shortlist}
    if quick.explored:
        assert not any(view.feasible for view in views.values())
        assert (quick.chosen, quick.replica, quick.promise) == (whole.chosen, whole.replica, whole.promise)
        return
    chosen = views[str(quick.chosen), quick.replica]
    best = views[str(whole.chosen), whole.replica]
    assert chosen.feasible
    assert chosen.score == pytest.approx(best.score, abs=1e-9)
    assert quick.shortlist == whole.shortlist
    assert quick.candidates == whole.candidates


def tightest(within_ms: float, *, busy: int = 0) -> tuple[str, str]:
    """Model and replica that tightest fit chooses among 2, 20 and 60 ms, the last on two replicas."""
    cards = [a_card(name, warm_ms=ms) for name, ms in (("quick", 2.0), ("middling", 20.0), ("slow", 60.0))]
    table = a_table({"a": holding(*cards), "b": holding(*cards)})
    for _ in range(busy):
        table.sent(a_decision("a", cards[0]), rows=1, now_ns=ns())
    decision = ENGINE.decide(
        wants(within_ms=within_ms, profile="tightest_fit"),
        Catalogue.of(cards, version=1),
        table.snapshot(ns()),
        now_ns=ns(),
        rng=Random(1),
    )
    return decision.chosen.name, decision.replica


@pytest.mark.parametrize(("within_ms", "model"), [(15.0, "quick"), (60.0, "middling"), (1000.0, "slow")])
def test_tightest_fit_keeps_fast_models_for_tight_deadlines(within_ms: float, model: str) -> None:
    """Each deadline is served by the slowest model that keeps it."""
    assert tightest(within_ms)[0] == model


def test_tightest_fit_fills_the_busy_replica_while_that_fits() -> None:
    """With time to spare the queue that is there already grows, and the idle replica stays idle."""
    assert tightest(1000.0, busy=2) == ("slow", "a")
    assert tightest(15.0, busy=8)[1] == "b"
