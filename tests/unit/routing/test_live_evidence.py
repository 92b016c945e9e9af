"""Routing on evidence: bounds that move from the card to what was seen, intervals at today's calibration."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.card import ModelCard
from models.evidence import LiveEvidence, ModelEvidence, Recalibration
from models.forecast import Forecast
from models.task import INTERVAL_LEVELS
from routing.catalogue import Catalogue
from routing.evidence.known import NO_BOUND, NO_SKILL
from routing.evidence.recalibration import in_force, levels_of, recalibrated, spread_of
from tests.support.cards import a_card
from tests.support.live_evidence import bounded, observed, seen_on

CARD = a_card("ridge", skill=0.05)
OWN = levels_of(CARD.calibration)
WIDE = tuple(2 * multiplier for multiplier in OWN)
WIDER = tuple(3 * multiplier for multiplier in OWN)


def live(instrument: str, *, lower: float, weight: float, skill: float | None = None) -> LiveEvidence:
    """Evidence that all levels are covered with this lower bound."""
    coverage = {f"{level:.2f}": bounded(lower + 0.01, lower, lower + 0.02) for level in INTERVAL_LEVELS}
    gained = None if skill is None else bounded(skill + 0.01, skill, skill + 0.02)
    found = seen_on(instrument, coverage=coverage, skill=gained)
    return found.model_copy(update={"weight": weight})


def catalogue(*seen: LiveEvidence, card: ModelCard = CARD) -> Catalogue:
    """One model, with what was seen of it."""
    evidence: dict[str, ModelEvidence] = {str(card.key): observed(instruments=seen)} if seen else {}
    return Catalogue.of([card], version=1, evidence=evidence)


def bound(known: Catalogue, instrument: str, level: float = 0.95) -> float:
    """Lower bound on coverage."""
    return float(known.coverage_lower((instrument,))[0, INTERVAL_LEVELS.index(level)])


def test_without_outcomes_the_card_counts() -> None:
    """As it did before there was any evidence."""
    assert bound(catalogue(), "EURUSD") == pytest.approx(0.945)


def test_an_instrument_is_judged_by_its_own_outcomes_then_by_all() -> None:
    """Card 0.945, pooled 0.80 with weight 0.5, the instrument's own 0.70 with weight 0.4."""
    known = catalogue(live("*", lower=0.8, weight=0.5), live("EURUSD", lower=0.7, weight=0.4))
    pooled = 0.945 + 0.5 * (0.8 - 0.945)

    assert bound(known, "NZDUSD") == pytest.approx(pooled)
    assert bound(known, "EURUSD") == pytest.approx(pooled + 0.4 * (0.7 - pooled))
    assert known.evidence_cursor == 812


def test_a_requirement_is_held_against_what_was_seen() -> None:
    """The level that the card would have answered with does not do any more, or none does."""
    before = catalogue()
    assert before.answer_level(("EURUSD",), 0.94).tolist() == [INTERVAL_LEVELS.index(0.95)]

    after = catalogue(live("*", lower=0.8, weight=0.9))
    assert after.answer_level(("EURUSD",), 0.94).tolist() == [-1]


def test_skill_moves_with_what_was_seen() -> None:
    """A model that was good on its card and is not is no longer preferred."""
    known = catalogue(live("*", lower=0.9, weight=0.5, skill=-0.1))

    assert known.skill_lower(()).tolist() == pytest.approx([0.5 * 0.04 - 0.5 * 0.1])


def test_an_unmeasured_model_is_routed_on_only_once_enough_was_seen() -> None:
    """A card without evidence promises nothing; a little live evidence does not change that, enough does."""
    card = CARD.model_copy(update={"evidence": ()})
    little = catalogue(live("*", lower=0.9, weight=0.3, skill=0.02), card=card)
    enough = catalogue(live("*", lower=0.9, weight=0.6, skill=0.02), card=card)

    assert bound(catalogue(card=card), "EURUSD") == NO_BOUND
    assert bound(little, "EURUSD") == NO_BOUND
    assert little.skill_lower(()).tolist() == [NO_SKILL]
    assert bound(enough, "EURUSD") == pytest.approx(0.9)
    assert enough.skill_lower(()).tolist() == pytest.approx([0.02])


RECALIBRATED = Recalibration(version="r1", multipliers={"*": WIDE, "NZDUSD": WIDER})


@pytest.mark.parametrize(
    ("instruments", "rows", "expected"),
    [
        ((), 2, (WIDE, WIDE)),
        (("NZDUSD",), 2, (WIDER, WIDER)),
        (("EURUSD",), 1, (WIDE,)),
        (("EURUSD", "NZDUSD"), 2, (WIDE, WIDER)),
        (("EURUSD", "NZDUSD"), 3, (WIDE, WIDE, WIDE)),
    ],
)
def test_every_row_has_the_calibration_of_its_instrument(
    instruments: tuple[str, ...], rows: int, expected: tuple[object, ...]
) -> None:
    """One name for all rows or one for each; what is not named counts as any instrument."""
    found = in_force(CARD.calibration, RECALIBRATED, instruments, rows=rows)

    assert found.version == "r1"
    assert found.rows == expected


def test_without_outcomes_the_calibration_is_the_cards() -> None:
    """By name and in every row."""
    found = in_force(CARD.calibration, None, ("EURUSD",), rows=2)

    assert (found.version, found.rows) == ("test-1", (OWN, OWN))


@given(
    middle=st.floats(-1e-2, 1e-2),
    scale=st.floats(1e-6, 1e-2),
    level=st.sampled_from(INTERVAL_LEVELS),
    factor=st.floats(0.1, 10),
)
def test_a_recalibrated_forecast_is_the_one_made_with_the_new_multipliers(
    middle: float, scale: float, level: float, factor: float
) -> None:
    """Quantiles and interval as the head would have computed them; and its distribution is found again."""
    now = tuple(factor * multiplier for multiplier in OWN)
    expected, made = (forecast_of(middle, scale, level, which) for which in (now, OWN))

    found = recalibrated(made, OWN, now)

    assert found.model_dump() == pytest.approx(expected.model_dump(), rel=1e-6, abs=1e-12)
    spread = spread_of(found, now)
    assert spread.scale == pytest.approx(scale, rel=1e-6)
    assert spread.multipliers == now


def forecast_of(middle: float, scale: float, level: float, multipliers: tuple[float, ...]) -> Forecast:
    """What `inference.calibration.Head` makes of a median and a scale."""
    tail = multipliers[INTERVAL_LEVELS.index(0.90)] * scale
    wide = multipliers[INTERVAL_LEVELS.index(level)] * scale
    return Forecast(
        q05=middle - tail,
        q50=middle,
        q95=middle + tail,
        lower=middle - wide,
        upper=middle + wide,
        level=level,
        prob_up=0.5,
        in_distribution=True,
    )


def test_a_distribution_too_narrow_to_see_is_still_one() -> None:
    """Beside a large median a tiny scale is lost in rounding."""
    assert spread_of(forecast_of(1.0, 1e-30, 0.9, OWN), OWN).scale > 0
