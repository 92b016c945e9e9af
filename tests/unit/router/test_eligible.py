"""Catalogues without the models in quarantine, which are never the reason for having no answer."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import pytest

from deployments.router.eligible import EligibleModels
from deployments.router.quarantine import Quarantine
from models.errors import NothingFeasible
from routing.catalogue import Catalogue
from routing.engine import Engine
from tests.support.cards import a_card
from tests.unit.routing.beliefs import ns
from tests.unit.routing.worlds import a_table, holding, the_profiles, wants

MLP, GRU = a_card("mlp"), a_card("gru")


@dataclass
class Copy:
    """A catalogue that is all there."""

    catalogue: Catalogue
    complete: bool = True


def eligible(*crashed: str) -> EligibleModels:
    """Both models, of which those named took two replicas down each."""
    quarantine = Quarantine()
    for model in crashed:
        for crash in range(2):
            quarantine.crashed(f"{model} {crash}", [model], ns())
    return EligibleModels(Copy(Catalogue.of([MLP, GRU], version=1)), quarantine)


def offered(*crashed: str) -> list[tuple[str, ...]]:
    """The models of each catalogue to decide with, in order."""
    return [catalogue.keys for catalogue in eligible(*crashed).catalogues(ns())]


def test_a_healthy_catalogue_is_offered_as_it_is() -> None:
    """Without quarantine there is one catalogue, the whole."""
    assert offered() == [("gru@1", "mlp@1")]


def test_a_quarantined_model_is_the_last_resort() -> None:
    """It is left out first, and part of the choice only if that has no answer."""
    assert offered("mlp@1") == [("gru@1",), ("gru@1", "mlp@1")]


def test_where_every_model_is_quarantined_they_are_used() -> None:
    """An empty catalogue has no answer; then the whole one has: refusing everything would help nobody."""
    whole = list(eligible("mlp@1", "gru@1").catalogues(ns()))[-1]
    load = a_table({"a": holding(MLP, GRU)}).snapshot(ns())

    decision = Engine(the_profiles()).decide(wants(), whole, load, now_ns=ns(), rng=Random(1))

    assert offered("mlp@1", "gru@1") == [(), ("gru@1", "mlp@1")]
    assert decision.chosen.name in {"mlp", "gru"}


@pytest.mark.parametrize("named", ["mlp", "mlp@1"])
def test_a_named_model_in_quarantine_is_refused_until_it_is_over(named: str) -> None:
    """The refusal says which, and when to come back; another model may be named meanwhile."""
    models = eligible("mlp@1")
    models.check_named("gru", ns())

    with pytest.raises(NothingFeasible, match=f"{named} crashed its replicas twice") as refused:
        models.check_named(named, ns(20_000))
    assert (refused.value.field, refused.value.retry_after_s) == ("model", 40.0)
    models.check_named(named, ns(60_000))


def test_without_a_last_resort_quarantined_models_are_left_out() -> None:
    """What stands in for a named model is never one that crashes, be it the only one left."""
    found = eligible("mlp@1", "gru@1").catalogues(ns(), last_resort=False)

    assert [catalogue.keys for catalogue in found] == [()]


def test_a_model_that_is_gone_is_no_reason_for_another_catalogue() -> None:
    """A quarantine outlives its model; there is nothing to leave out then."""
    assert offered("retired@1") == [("gru@1", "mlp@1")]
