"""What holds in every world: cards, replicas, history and request at random, by clocks that jump."""

from __future__ import annotations

import json
from random import Random
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.card import ModelStatus
from models.decision import Decision
from models.errors import InputError, NoModelMatches, NothingFeasible, RoutingError
from routing.catalogue import Catalogue
from routing.engine import Engine
from routing.load import LoadTable
from tests.support.cards import a_card
from tests.unit.routing import oracle
from tests.unit.routing.beliefs import CARD, answered, ns
from tests.unit.routing.worlds import World, a_report, a_table, holding, the_profiles, wants, worlds

ENGINE = Engine(the_profiles())
HOUR_MS = 3_600_000


def decided(
    world: World,
    table: LoadTable,
    *,
    now_ns: int,
    exclude: frozenset[str] | None = None,
    engine: Engine = ENGINE,
) -> Decision:
    """The decision of a world on a table, at a moment of choice that leaves the deadline where it was."""
    shift_ns = now_ns - world.now_ns
    wanted = world.wanted.model_copy(update={"deadline_ns": world.wanted.deadline_ns + shift_ns})
    return engine.decide(
        wanted,
        world.catalogue(),
        table.snapshot(now_ns),
        now_ns=now_ns,
        rng=world.rng(),
        exclude=world.exclude if exclude is None else exclude,
    )


def outcome(world: World, table: LoadTable, *, now_ns: int, engine: Engine = ENGINE) -> str:
    """The decision or the refusal, every digit of it."""
    try:
        return decided(world, table, now_ns=now_ns, engine=engine).model_dump_json()
    except RoutingError as refusal:
        return f"{refusal!r} {refusal.details}"


@settings(max_examples=80, deadline=None)
@given(worlds(), st.sampled_from([0, 1, 5000, -5000, HOUR_MS, -HOUR_MS, 1000 * HOUR_MS, -1000 * HOUR_MS]))
def test_never_raises_anything_but_a_refusal(world: World, step_ms: int) -> None:
    """Whatever was heard and however the clock jumped, there is a sound decision or a typed refusal."""
    now_ns = world.now_ns + step_ms * 1_000_000
    try:
        decision = decided(world, world.table(), now_ns=now_ns)
    except (RoutingError, InputError):
        return

    assert 0.0 < decision.promise.expected_ms <= decision.promise.quantile_ms
    assert 0.0 <= decision.promise.p_meet <= 1.0
    if not decision.explored:
        assert decision.promise.quantile_ms <= decision.budget_ms
        assert decision.promise.p_meet >= 0.95
    assert all(0.0 <= view.score <= 1.0 for view in decision.shortlist)


@settings(max_examples=80, deadline=None)
@given(worlds())
def test_few_rows_are_chosen_among_as_many_are(world: World) -> None:
    """Number by number or by arrays: the same choice, bit for bit."""
    table = world.table()
    by_numbers = outcome(world, table, now_ns=world.now_ns)
    with patch("routing.choice.few.FEW", 0):
        assert outcome(world, table, now_ns=world.now_ns, engine=Engine(the_profiles())) == by_numbers


@settings(max_examples=80, deadline=None)
@given(worlds())
def test_never_picks_what_is_not_eligible(world: World) -> None:
    """The model meets every requirement, the replica holds it, was not tried before and is not ejected."""
    table = world.table()
    load = table.snapshot(world.now_ns)
    try:
        decision = decided(world, table, now_ns=world.now_ns)
    except RoutingError:
        return

    card = next(card for card in world.cards if card.key == decision.chosen)
    holders = {name for name, meta in world.replicas.items() if str(card.key) in meta.models}
    eligible = [str(card.key) for card in world.cards if oracle.eligible(card, world)]
    hosts = {n for n, meta in world.replicas.items() if any(model in meta.models for model in eligible)}
    assert str(card.key) in eligible
    assert decision.replica in holders - world.exclude
    assert decision.replica in oracle.gate(hosts, load, world.now_ns)[0]
    assert decision.pool == world.replicas[decision.replica].pool


@settings(max_examples=60, deadline=None)
@given(worlds(), worlds())
def test_explanation_shows_the_numbers_of_its_own_moment(world: World, later: World) -> None:
    """Read after the table has changed in every way there is, the shortlist says what it said then."""
    table, twin = world.table(), world.table()
    try:
        decision = decided(world, table, now_ns=world.now_ns)
    except RoutingError:
        return
    then = decided(world, twin, now_ns=world.now_ns).model_dump_json()

    for call in later.calls:
        if call.replica in world.replicas and call.card.name in {card.name for card in world.cards}:
            answered(table, call.replica, at_ms=40 * HOUR_MS, card=call.card, report=call.report)
    for replica in world.replicas:
        table.unreachable(replica, now_ns=world.now_ns)
    table.snapshot(world.now_ns + HOUR_MS * 1_000_000)
    for pool in ("near", "far"):
        table.replicas_updated(pool, [], now_ns=world.now_ns)

    assert decision.model_dump_json() == then


@settings(max_examples=80, deadline=None)
@given(worlds(), st.integers(0, 60_000))
def test_restored_table_decides_alike(world: World, later_ms: int) -> None:
    """A table brought back from JSON makes the same decisions of the same beliefs, bit for bit."""
    table, other = world.table(), LoadTable()
    other.restore(json.loads(json.dumps(table.export())), now_ns=world.now_ns)

    for now_ns in (world.now_ns, world.now_ns + later_ms * 1_000_000):
        assert outcome(world, table, now_ns=now_ns) == outcome(world, other, now_ns=now_ns)
    assert other.export() == table.export()


@settings(max_examples=40, deadline=None)
@given(worlds())
def test_every_replica_gone_is_worth_another_try(world: World) -> None:
    """Without replicas the refusal is retryable and says when; when they are back, so are the decisions."""
    table = world.table()
    for pool in ("near", "far"):
        table.replicas_updated(pool, [], now_ns=world.now_ns)

    with pytest.raises(RoutingError) as caught:
        decided(world, table, now_ns=world.now_ns)

    if not isinstance(caught.value, NoModelMatches):
        assert isinstance(caught.value, NothingFeasible)
        assert caught.value.retryable
        assert caught.value.retry_after_s


@settings(max_examples=40, deadline=None)
@given(worlds())
def test_every_replica_excluded_is_a_refusal(world: World) -> None:
    """Nothing that was tried before is tried again, however few there are."""
    with pytest.raises(RoutingError):
        decided(world, world.table(), now_ns=world.now_ns, exclude=frozenset(world.replicas))


def test_every_model_out_of_service_is_a_refusal_that_names_one() -> None:
    """Where all models are load-only the request is refused with the filter that removed the last of them."""
    cards = [a_card(name).model_copy(update={"status": ModelStatus.LOAD_ONLY}) for name in ("mlp", "gru")]
    table = a_table({"a": holding(*cards)})

    with pytest.raises(NoModelMatches) as caught:
        ENGINE.decide(
            wants(), Catalogue.of(cards, version=1), table.snapshot(ns()), now_ns=ns(), rng=Random(1)
        )

    assert caught.value.details["requirement"]


def test_decision_on_a_snapshot_is_not_moved_by_the_clock_alone() -> None:
    """Two decisions on one snapshot, with one seed, are one decision, though the table went on in between."""
    table, catalogue = a_table({"a": holding(CARD), "b": holding(CARD)}), Catalogue.of([CARD], version=1)
    load = table.snapshot(ns())
    first = ENGINE.decide(wants(), catalogue, load, now_ns=ns(), rng=Random(1))
    for seq in range(50):
        answered(
            table,
            first.replica,
            at_ms=seq,
            elapsed_ms=90.0,
            report=a_report(first.replica, seq=seq, queued=5),
        )
    table.snapshot(ns(50))

    assert ENGINE.decide(wants(), catalogue, load, now_ns=ns(), rng=Random(1)) == first
