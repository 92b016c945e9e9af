"""The made-up outcomes are what the tracker reads, and the peers count what is in them."""

from __future__ import annotations

import importlib.util
from itertools import islice
from random import Random

import pytest

from benchmarks.evidence_outcomes import BAR_MS, MODELS, SYMBOLS, encoded, outcomes
from benchmarks.evidence_peers import Plain, River
from deployments.tracker.outcome_fold import OutcomeFold
from models.task import INTERVAL_LEVELS
from routing.evidence.rules import EvidenceRules

RECORDS = 600


def test_the_tracker_folds_every_made_outcome() -> None:
    """None is skipped, each record counts once per model, and every market comes at every close."""
    judged = OutcomeFold(EvidenceRules())
    judged.take_all(encoded(outcomes(Random(1)), 0, RECORDS))

    assert (judged.skipped, judged.fold.outcomes) == (0, RECORDS * len(MODELS))
    assert set(judged.fold.models) == set(MODELS)
    made = list(islice(outcomes(Random(1)), 2 * len(SYMBOLS)))
    assert {one.symbol for one in made[: len(SYMBOLS)]} == set(SYMBOLS)
    assert made[-1].bar_close_ms - made[0].bar_close_ms == BAR_MS


def test_records_go_on_where_the_last_block_ended() -> None:
    """Offsets without a gap: the fold leaves out what lies before its cursor."""
    made, judged = outcomes(Random(1)), OutcomeFold(EvidenceRules())
    for first in (0, 100):
        judged.take_all(encoded(made, first, 100))

    assert (judged.fold.cursor, judged.fold.outcomes) == (199, 200 * len(MODELS))


def test_made_intervals_keep_their_promises() -> None:
    """So a benchmark that folds them is not one of a broken model."""
    trials = [trial for one in islice(outcomes(Random(1)), 5_000) for trial in one.trials]
    held = sum(trial.inside <= INTERVAL_LEVELS.index(0.95) for trial in trials) / len(trials)

    assert held == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize("peer", [Plain, *([River] if importlib.util.find_spec("river") else [])])
def test_a_peer_counts_what_is_there(peer: type[Plain | River]) -> None:
    """Its coverage is the share of outcomes inside, by model and instrument."""
    made = list(islice(outcomes(Random(1)), RECORDS))
    counting = peer()
    counting.take_all(encoded(iter(made), 0, RECORDS))

    for index, level in enumerate(INTERVAL_LEVELS):
        inside = [one.trials[2].inside <= index for one in made if one.symbol == SYMBOLS[3]]
        expected = sum(inside) / len(inside)
        assert counting.coverage((MODELS[2], SYMBOLS[3]), level) == pytest.approx(expected)
