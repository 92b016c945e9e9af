"""Models that a replica would have to load first: where calls go, and what is learned of them."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random

import pytest

from models.card import ModelCard, WarmProfile
from models.decision import Decision
from models.errors import NothingFeasible
from routing.beliefs.placement import Placement
from routing.catalogue import Catalogue
from routing.engine import Engine
from routing.load import LoadTable, Outcome, ReplicaMeta
from tests.support.cards import a_card
from tests.unit.routing.beliefs import answered, calls, learned, ns, service_ms, standing
from tests.unit.routing.worlds import a_decision, a_report, a_table, holding, the_profiles, wants

CARD, OTHER = a_card("a", warm_ms=2.0), a_card("b", warm_ms=2.0)
LOAD_MS = 50.0
ENGINE = Engine(the_profiles())


def cold(*cards: ModelCard, warm: tuple[ModelCard, ...] = ()) -> ReplicaMeta:
    """A replica that would have to load these, and has loaded the others."""
    profiles = {
        str(card.key): [
            WarmProfile(rows=one.rows, p50_ms=LOAD_MS + one.p50_ms, p99_ms=2 * LOAD_MS, n=1)
            for one in card.warm
        ]
        for card in cards
    }
    known = holding(*warm)
    return replace(known, models={**known.models, **profiles}, cold=frozenset(profiles))


def decided(table: LoadTable, *, within_ms: float) -> Decision:
    """Where a call for the model goes now."""
    catalogue = Catalogue.of([CARD], version=1)
    wanted = wants(within_ms=within_ms, model="a@1")
    return ENGINE.decide(wanted, catalogue, table.snapshot(ns()), now_ns=ns(), rng=Random(1))


def test_cold_and_warm_are_different_groups() -> None:
    """On the same hardware; replicas that differ in it are not alike."""
    placement = Placement.of({"x": holding(CARD), "y": cold(CARD), "z": cold(CARD)})

    assert [[placement.replicas[one] for one in cohort.replicas] for cohort in placement.cohorts] == [
        ["x"],
        ["y", "z"],
    ]
    assert placement.group_of(0, "a@1") != placement.group_of(1, "a@1")
    assert {cohort.hardware for cohort in placement.cohorts} == {"cpu"}
    assert placement.models == {"a@1"}


def test_a_load_says_nothing_of_models_that_were_never_measured() -> None:
    """What they take is guessed from those of the pool that run."""
    unmeasured = a_card("new").model_copy(update={"warm": ()})
    placement = Placement.of({"x": cold(OTHER, warm=(CARD, unmeasured))})

    (new,) = [group for group in placement.groups if group.key[2] == "new@1"]
    assert new.warm.service_ms[0] == 2.0


def test_the_load_counts_against_the_deadline() -> None:
    """With enough time the model is loaded; with less the call goes where it is, or nowhere."""
    nowhere, somewhere = a_table({"x": cold(CARD)}), a_table({"x": cold(CARD), "y": holding(CARD)})

    assert decided(nowhere, within_ms=500).promise.expected_ms >= LOAD_MS
    with pytest.raises(NothingFeasible):
        decided(nowhere, within_ms=20)
    assert decided(somewhere, within_ms=20).replica == "y"
    assert decided(somewhere, within_ms=500).replica == "y"


def test_a_hot_model_gets_another_copy_where_waiting_takes_longer_than_the_load() -> None:
    """Nobody plans it: the replica that would load it is the sooner one by then."""
    table = a_table({"x": cold(CARD), "y": holding(CARD)})
    sent_to = []
    for _ in range(40):
        sent_to.append(decided(table, within_ms=1000).replica)
        table.sent(a_decision(sent_to[-1], CARD), rows=1, now_ns=ns())

    assert set(sent_to[:15]) == {"y"}
    assert "x" in sent_to


def test_a_call_that_waited_for_a_load_teaches_nothing_of_speed() -> None:
    """Neither of the model nor of the replica, whoever was wrong about what is loaded."""
    expected_warm = a_table({"x": holding(CARD, OTHER)})
    expected_cold = a_table({"x": cold(CARD, warm=(OTHER,))})
    loaded = a_report("x", service_ms=2.0, load_ms=80.0)
    answered(expected_warm, "x", card=CARD, elapsed_ms=85.0, report=loaded)
    answered(expected_cold, "x", card=CARD, elapsed_ms=85.0, report=loaded)
    answered(expected_cold, "x", card=CARD, elapsed_ms=4.0, report=a_report("x", seq=2, service_ms=2.0))
    answered(expected_cold, "x", card=CARD, elapsed_ms=99.0, outcome=Outcome.TIMEOUT)

    for table, card, before_ms in (
        (expected_warm, CARD, 2.0),
        (expected_cold, OTHER, 2.0),
        (expected_cold, CARD, 52.0),
    ):
        snapshot = table.snapshot(ns(8))
        assert service_ms(snapshot, "x", card) == pytest.approx(before_ms)


def test_a_call_that_waited_for_a_load_still_says_how_busy_the_replica_is() -> None:
    """That is as true as ever."""
    table = a_table({"x": cold(CARD)})
    answered(table, "x", card=CARD, report=a_report("x", load_ms=80.0, queued=4, in_service=1))

    assert calls(table.snapshot(ns()), "x") == pytest.approx(5)


def test_what_is_learned_warm_survives_an_unloading() -> None:
    """On the replicas that still hold the model; and a replica stays the same whatever it loads."""
    table = a_table({"x": holding(CARD), "y": holding(CARD)})
    learned(table, {"x": 6.0, "y": 6.0})
    table.sent(a_decision("x", CARD), rows=1, now_ns=ns())
    before = table.snapshot(ns())

    table.replicas_updated("pool", [("x", cold(CARD)), ("y", holding(CARD))], now_ns=ns())
    after = table.snapshot(ns())

    assert service_ms(after, "y", CARD) == pytest.approx(service_ms(before, "y", CARD))
    assert standing(after, "x") == standing(before, "x")
    assert calls(after, "x") == 1


def test_beliefs_can_be_exported_with_what_is_cold() -> None:
    """As JSON, and from before there was such a thing."""
    table, other = a_table({"x": cold(CARD, warm=(OTHER,))}), LoadTable()
    state = json.loads(json.dumps(table.export()))
    other.restore(state, now_ns=ns())
    assert other.export() == table.export()
    assert other.snapshot(ns()).placement.metas[0].cold == {"a@1"}

    del state["replicas"]["x"]["meta"]["cold"]
    other.restore(state, now_ns=ns())
    assert other.snapshot(ns()).placement.metas[0].cold == frozenset()
