"""What models promised, held against what was observed of them."""

from __future__ import annotations

import pytest

from models.card import Bounded
from models.evidence import Recalibration
from models.promises import Verdict, evidence_page, verdict, version_evidence
from models.task import INTERVAL_LEVELS
from tests.support.cards import a_card
from tests.support.live_evidence import bounded, observed, seen_on


@pytest.mark.parametrize(
    ("level", "seen", "said"),
    [
        (0.95, None, Verdict.NOT_YET_KNOWN),
        (0.95, bounded(0.95, 0.94, 0.96), Verdict.KEPT),
        (0.95, bounded(0.95, 0.926, 0.99), Verdict.KEPT),
        (0.95, bounded(0.95, 0.924, 0.99), Verdict.NOT_YET_KNOWN),
        (0.50, bounded(0.50, 0.24, 0.76), Verdict.NOT_YET_KNOWN),
        (0.50, bounded(0.50, 0.26, 0.76), Verdict.KEPT),
        (0.95, bounded(0.90, 0.85, 0.949), Verdict.BROKEN),
        (0.95, bounded(0.90, 0.85, 0.95), Verdict.NOT_YET_KNOWN),
        (0.95, bounded(0.98, 0.951, 0.99), Verdict.TOO_WIDE),
        (0.95, bounded(0.98, 0.95, 0.99), Verdict.KEPT),
    ],
)
def test_a_verdict_is_only_given_for_certain(level: float, seen: Bounded | None, said: Verdict) -> None:
    """Broken and too wide by the bound, never by the value; kept once misses are surely few enough."""
    assert verdict(level, seen) is said


def test_every_instrument_and_level_is_compared() -> None:
    """The pooled one first; where the card has nothing of an instrument, its pooled evidence stands in."""
    wide = bounded(0.97, 0.96, 0.98)
    live = observed(instruments=(seen_on(), seen_on("EURUSD", coverage={"0.95": wide})))
    pooled, euro = version_evidence(a_card(), live).comparison

    assert [pooled.instrument, euro.instrument, euro.card_instrument] == ["*", "EURUSD", "*"]
    assert [level.promised for level in euro.levels] == list(INTERVAL_LEVELS)
    found = euro.levels[INTERVAL_LEVELS.index(0.95)]
    assert (found.observed, found.verdict) == (wide, Verdict.TOO_WIDE)
    assert found.card == a_card().evidence[0].coverage["0.95"]
    assert {level.verdict for level in pooled.levels} == {Verdict.KEPT}


def test_a_card_without_evidence_is_compared_all_the_same() -> None:
    """Its intervals claim their levels; there is just no earlier measurement."""
    unmeasured = a_card().model_copy(update={"evidence": ()})
    (before,) = version_evidence(unmeasured, None).comparison
    (after,) = version_evidence(unmeasured, observed()).comparison

    assert (before.instrument, before.card_instrument) == ("*", None)
    assert {(level.card, level.observed, level.verdict) for level in before.levels} == {
        (None, None, Verdict.NOT_YET_KNOWN)
    }
    assert {level.verdict for level in after.levels} == {Verdict.KEPT}


def test_what_was_not_measured_at_a_level_is_unknown() -> None:
    """A level that only the card, or neither, covers."""
    partial = seen_on().model_copy(update={"coverage": {"0.90": bounded(0.9, 0.89, 0.91)}})
    (pooled,) = version_evidence(a_card(), observed(instruments=(partial,))).comparison

    assert {level.promised for level in pooled.levels if level.verdict is Verdict.KEPT} == {0.90}
    assert {level.promised for level in pooled.levels if level.observed is None} == {*INTERVAL_LEVELS} - {
        0.90
    }


def test_the_calibration_is_the_latest() -> None:
    """The card's until there is a recalibration."""
    again = Recalibration(version="ridge-1-o812", multipliers={"*": (1, 2, 3, 4, 5, 6, 7, 8)})

    assert version_evidence(a_card(), None).calibration == "test-1"
    assert version_evidence(a_card(), observed()).calibration == "test-1"
    assert version_evidence(a_card(), observed(calibration=again)).calibration == "ridge-1-o812"


def test_a_page_says_how_far_it_was_folded() -> None:
    """Evidence goes to its own version; the cursor is that of all models."""
    evidence = {"ridge@2": observed(version="2", cursor=5), "naive@1": observed("naive", cursor=9)}
    page = evidence_page([a_card(), a_card(version="2")], evidence, catalogue_version=3)

    assert [version.observed for version in page.versions] == [None, evidence["ridge@2"]]
    assert (page.catalogue_version, page.evidence_cursor) == (3, 9)
    assert evidence_page([a_card()], {}, catalogue_version=3).evidence_cursor == -1
