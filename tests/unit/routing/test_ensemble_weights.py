"""How much members of an ensemble count: against exact arithmetic, and where losses are missing or absurd."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.card import MOST_MEMBERS, ModelCard
from models.evidence import LiveEvidence
from routing.evidence.weights import inverse, losses_of, weights_of
from tests.support.cards import a_card
from tests.support.live_evidence import bounded, seen_on

NAMES = [f"m{number}@1" for number in range(24)]
LOSSES = st.dictionaries(st.sampled_from(NAMES), st.floats(1e-6, 1e6), min_size=1)
ANY_LOSS = st.sampled_from([0.0, -1.0, math.nan, math.inf, -math.inf])


def exactly(losses: dict[str, float]) -> dict[str, float]:
    """1 / loss over the sum of them, of those with the least losses, in fractions."""
    kept = sorted(losses, key=lambda name: (losses[name], name))[:MOST_MEMBERS]
    inverted = {name: 1 / Fraction(losses[name]) for name in kept}
    total = sum(inverted.values())
    return {name: float(share / total) for name, share in inverted.items()}


@given(LOSSES)
def test_are_the_inverse_losses_normalised(losses: dict[str, float]) -> None:
    """To the last digits, whatever the losses; of too many members the best."""
    assert inverse(losses) == pytest.approx(exactly(losses), rel=1e-12)
    assert sum(inverse(losses).values()) == pytest.approx(1.0)


@given(LOSSES, st.dictionaries(st.sampled_from(["x@1", "y@1"]), ANY_LOSS, min_size=1))
def test_a_loss_that_is_none_says_nothing(losses: dict[str, float], absurd: dict[str, float]) -> None:
    """A loss of 0 would take all of the weight, one that is no number would make all of them none."""
    assert inverse(losses | absurd) == inverse(losses)


@pytest.mark.parametrize("losses", [{}, {"m@1": 0.0}, {"m@1": math.nan, "n@1": math.inf}])
def test_where_nothing_was_measured_there_is_no_weight(losses: dict[str, float]) -> None:
    """Rather than an equal share for whoever nothing is known of."""
    assert inverse(losses) == {}


@pytest.mark.parametrize(("least", "most"), [(5e-324, 1.0), (1.0, 1e308), (5e-324, 1e308)])
def test_the_extremes_overflow_nowhere(least: float, most: float) -> None:
    """A member whose share is nothing at all is not asked."""
    found = inverse({"good@1": least, "bad@1": most})

    assert found["good@1"] == pytest.approx(1.0)
    assert all(0.0 < weight <= 1.0 for weight in found.values())


@given(
    st.dictionaries(st.sampled_from(NAMES[:5]), st.floats(0.01, 100)),
    st.dictionaries(st.sampled_from(NAMES[:5]), st.floats(0.01, 100)),
)
def test_a_cards_loss_is_brought_to_the_present(live: dict[str, float], known: dict[str, float]) -> None:
    """By the geometric mean of what became of the losses of those that have both."""
    both = live.keys() & known.keys()
    product = math.prod(live[name] / known[name] for name in both)
    change = product ** (1 / len(both)) if both else 1.0

    found = losses_of(live, known)

    assert found.keys() == live.keys() | known.keys()
    for name, loss in found.items():
        assert loss == pytest.approx(live[name] if name in live else known[name] * change)


def with_loss(name: str, loss: float | None) -> ModelCard:
    """A card whose pooled evidence has this loss, or none at all."""
    card = a_card(name)
    if loss is None:
        return card.model_copy(update={"evidence": ()})
    (pooled,) = card.evidence
    measured = bounded(loss, loss, loss)
    return card.model_copy(update={"evidence": (pooled.model_copy(update={"interval_score": measured}),)})


def lately(loss: float, instrument: str = "*") -> LiveEvidence:
    """Live evidence with this loss."""
    return seen_on(instrument).model_copy(update={"interval_score": bounded(loss, loss, loss)})


def test_live_outcomes_count_where_there_are_some_and_else_the_card() -> None:
    """Pooled over all instruments; the market has become twice as wide since the cards were written."""
    cards = [with_loss("seen", 1.0), with_loss("new", 1.5), with_loss("unknown", None)]
    seen = {"seen@1": (lately(99.0, "EURUSD"), lately(2.0)), "gone@1": (lately(0.1),)}

    assert weights_of(cards, seen) == pytest.approx({"seen@1": 0.6, "new@1": 0.4})


def test_nothing_measured_of_any_member_is_no_weight() -> None:
    """As of models that were registered without evidence."""
    assert weights_of([with_loss("a", None), with_loss("b", None)], {}) == {}
