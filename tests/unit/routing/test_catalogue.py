"""The compiled catalogue: which level a model answers with, and evidence where there is little of it."""

from __future__ import annotations

import pytest

from models.card import Bounded, ModelCard
from routing.catalogue import Catalogue
from routing.evidence.known import NO_BOUND, NO_SKILL
from tests.support.cards import a_card


def bound(lower: float) -> Bounded:
    """A bound with this lower end."""
    return Bounded(value=lower + 0.01, lower=lower, upper=lower + 0.02, n=100)


def measured(card: ModelCard, **lower: float) -> ModelCard:
    """The card with its pooled evidence repeated per instrument, coverage lowered to level + `lower`."""
    pooled = card.evidence[0]
    per_instrument = [
        pooled.model_copy(
            update={
                "instrument": instrument,
                "coverage": {level: bound(float(level) + shift) for level in pooled.coverage},
                "skill": bound(shift),
            }
        )
        for instrument, shift in lower.items()
    ]
    return card.model_copy(update={"evidence": (pooled, *per_instrument)})


@pytest.mark.parametrize(
    ("instruments", "level"), [(("EURUSD",), 0.9), (("NZDUSD",), 0.95), (("EURUSD", "NZDUSD"), 0.95)]
)
def test_level_is_the_narrowest_whose_bound_clears_for_every_instrument(
    instruments: tuple[str, ...], level: float
) -> None:
    """90 % is asked: a model that covers a little more answers with 90 %, one that covers less with 95 %."""
    catalogue = Catalogue.of([measured(a_card(), EURUSD=0.0, NZDUSD=-0.03)], version=1)
    levels = (0.50, 0.60, 0.70, 0.80, 0.90, 0.95, 0.98, 0.99)

    assert levels[catalogue.answer_level(instruments, 0.9)[0]] == level


def test_level_without_a_requirement_and_without_a_way_to_meet_it() -> None:
    """Nothing asked: 90 %. More than the widest interval is sure of: none."""
    catalogue = Catalogue.of([a_card()], version=1)

    assert catalogue.answer_level((), None).tolist() == [4]
    assert catalogue.answer_level((), 0.9999).tolist() == [-1]


def test_instrument_without_evidence_uses_the_pooled() -> None:
    """An instrument nobody measured apart is judged by what was measured over all."""
    catalogue = Catalogue.of([measured(a_card(skill=0.2), EURUSD=0.1)], version=1)

    assert catalogue.skill_lower(("EURUSD",)).tolist() == [0.1]
    assert catalogue.skill_lower(("XAUUSD",)) == pytest.approx([0.19])
    assert catalogue.skill_lower(("EURUSD", "XAUUSD")).tolist() == [0.1]


def test_card_without_evidence_clears_nothing_and_breaks_nothing() -> None:
    """No measurement is the worst bound, not an error."""
    catalogue = Catalogue.of([a_card().model_copy(update={"evidence": ()})], version=1)

    assert set(catalogue.coverage_lower(("EURUSD",)).ravel()) == {NO_BOUND}
    assert catalogue.skill_lower(()).tolist() == [NO_SKILL]
    assert catalogue.answer_level((), 0.01).tolist() == [-1]


def test_cards_are_ordered_and_unique() -> None:
    """The order cards arrive in does not matter; of two with one key the last counts."""
    cards = [a_card("b"), a_card("a", cost=1.0), a_card("a", cost=2.0)]
    catalogue = Catalogue.of(cards, version=3)

    assert catalogue.keys == ("a@1", "b@1")
    assert catalogue.cost.tolist() == [2.0, 1.0]
    assert len(catalogue) == 2
