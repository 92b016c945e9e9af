"""What outcomes come to: values against plain sums, bounds against chance, calibration against a change."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from statistics import mean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.evidence import ModelEvidence, Outcome
from models.task import INTERVAL_LEVELS
from routing.evidence import clusters as at
from routing.evidence.bounds import errors_wide, share_bounded
from routing.evidence.clusters import FadingSums
from routing.evidence.conformal import multipliers_of
from routing.evidence.fold import EvidenceFold
from routing.evidence.rules import EvidenceRules
from tests.unit.routing.outcomes import (
    BAR_MS,
    HORIZON_MS,
    LEVELS,
    START_MS,
    bars,
    honest_inside,
    outcome_of,
    trial_of,
)

FOR_EVER = EvidenceRules(half_life_ms=10**15)
CLUSTER_BARS = EvidenceRules().cluster_horizons * HORIZON_MS // BAR_MS


def folded(outcomes: list[Outcome], rules: EvidenceRules = FOR_EVER) -> EvidenceFold:
    """A fold of a log that begins with these."""
    fold = EvidenceFold(rules)
    for offset, outcome in enumerate(outcomes):
        fold.take(offset, outcome)
    return fold


def known(outcomes: list[Outcome], model: str = "ridge@1", rules: EvidenceRules = FOR_EVER) -> ModelEvidence:
    """What they say of a model."""
    return folded(outcomes, rules).evidence(model)


def a_record(rng: Random, count: int = 900) -> list[Outcome]:
    """Two models and a control on two instruments; not every moment has a control."""
    found = []
    for close_ms, symbol in bars(count, symbols=("EURUSD", "NZDUSD")):
        names = ["ridge@1", "mlp@1", *(["naive@1"] if rng.random() < 0.8 else [])]
        trials = [
            trial_of(
                name,
                inside=honest_inside(rng),
                loss=rng.uniform(0.5, 2.0),
                score=rng.expovariate(1),
                right=rng.choice([0.0, 0.5, 1.0, None]),
            )
            for name in names
        ]
        control = "naive@1" if len(trials) == 3 else None
        found.append(outcome_of(close_ms, *trials, symbol=symbol, control=control))
    return found


def test_values_are_plain_means_of_the_clusters_that_ended() -> None:
    """Coverage, loss, skill, direction: by instrument and pooled, against sums made by hand."""
    record = a_record(Random(1))
    ended = [one for one in record if one.bar_close_ms < record[-1].bar_close_ms // 300_000 * 300_000]
    evidence = known(record)

    for instrument in ("*", "EURUSD", "NZDUSD"):
        chosen = [one for one in ended if instrument in {"*", one.symbol}]
        trials = [(one, one.trials[0]) for one in chosen]
        live = evidence.on(instrument)
        assert live is not None
        for index, level in enumerate(INTERVAL_LEVELS):
            held = mean(trial.inside <= index for _, trial in trials)
            assert live.coverage[f"{level:.2f}"].value == pytest.approx(held, abs=1e-5)
        assert live.interval_score.value == pytest.approx(mean(t.interval_loss for _, t in trials), abs=1e-5)
        paired = [(trial, one.trials[2]) for one, trial in trials if one.control]
        skill = 1 - sum(t.interval_loss for t, _ in paired) / sum(c.interval_loss for _, c in paired)
        assert live.skill is not None
        assert live.skill.value == pytest.approx(skill, abs=1e-5)
        moved = [trial.right for _, trial in trials if trial.right is not None]
        assert live.direction_accuracy is not None
        assert live.direction_accuracy.value == pytest.approx(mean(moved), abs=1e-5)
    assert evidence.outcomes == len(record)


def test_the_control_has_no_skill_of_its_own() -> None:
    """It is what skill is measured against."""
    control = known(a_record(Random(2)), "naive@1").on("*")

    assert control is not None
    assert control.skill is None


def test_an_outcome_that_was_folded_is_not_folded_again() -> None:
    """Whoever reads a part of the log twice comes to the same evidence."""
    record = a_record(Random(3), 300)
    fold = folded(record)
    before = fold.evidence("ridge@1")
    for offset in range(100, len(record)):
        fold.take(offset, record[offset])

    assert fold.evidence("ridge@1") == before
    assert before.cursor == len(record) - 1


def test_old_outcomes_count_half_after_their_half_life() -> None:
    """A model that covered everything and then nothing, for equally long: one third after one half-life."""
    count = CLUSTER_BARS * 40
    record = [
        outcome_of(close_ms, trial_of(inside=0 if number < count // 2 else LEVELS))
        for number, (close_ms, _) in enumerate(bars(count + 1))
    ]
    half = known(record, rules=EvidenceRules(half_life_ms=count // 2 * BAR_MS)).on("*")

    assert half is not None
    assert half.coverage["0.95"].value == pytest.approx(1 / 3, abs=0.01)


def test_nothing_is_said_before_there_are_enough_clusters() -> None:
    """Nine clusters that ended are too few; with the tenth there is evidence, with little weight."""
    enough = CLUSTER_BARS * 10
    record = [outcome_of(close_ms, trial_of()) for close_ms, _ in bars(enough + 1)]

    assert known(record[:enough]).instruments == ()
    live = known(record).on("*")
    assert live is not None
    assert live.weight == pytest.approx(10 / 58, abs=1e-3)


def test_a_share_of_one_is_not_certain() -> None:
    """A model that never missed in ten clusters may still miss."""
    record = [outcome_of(close_ms, trial_of(inside=0)) for close_ms, _ in bars(CLUSTER_BARS * 10 + 1)]
    live = known(record).on("*")

    assert live is not None
    assert live.coverage["0.99"].value == 1.0
    assert 0.9 < live.coverage["0.99"].lower < 1.0


@pytest.mark.parametrize(("share", "alike"), [(0.95, 1), (0.9, 1), (0.5, 5)])
def test_a_bound_that_is_looked_at_always_is_seldom_wrong(share: float, alike: int) -> None:
    """Of 400 streams, looked at after every cluster, at most alpha ever leave the truth outside: with
    outcomes by themselves, and with runs of `alike` ones inside a cluster, which a bound for independent
    outcomes would not survive.
    """
    rng = np.random.default_rng(7)
    rules = EvidenceRules(half_life_ms=86_400_000)
    wrong = sum(ever_wrong(rng, share, alike, rules) for _ in range(400))

    assert wrong / 400 <= rules.alpha


def ever_wrong(rng: np.random.Generator, share: float, alike: int, rules: EvidenceRules) -> bool:
    """Whether the lower bound of a stream of 300 clusters is above the truth at any moment."""
    sums = FadingSums(rules.half_life_ms)
    for number in range(300):
        vector = np.zeros(at.WIDTH)
        vector[at.COUNT] = 30
        vector[at.INSIDE[0]] = alike * rng.binomial(30 // alike, share)
        sums.add(vector, number * 300_000)
        if number >= rules.first_clusters:
            ratio = sums.share(at.INSIDE[0])
            if share_bounded(ratio, 1, alpha=rules.alpha, first=rules.first_clusters).lower > share:
                return True
    return False


def test_a_bound_that_ignored_looking_would_be_wrong() -> None:
    """The same streams with 1.645 errors, as for one look: that the test above can fail."""
    rng = np.random.default_rng(7)
    wrong = 0
    for _ in range(100):
        sums = FadingSums(86_400_000)
        for number in range(300):
            vector = np.zeros(at.WIDTH)
            vector[at.COUNT] = 30
            vector[at.INSIDE[0]] = rng.binomial(30, 0.9)
            sums.add(vector, number * 300_000)
            ratio = sums.share(at.INSIDE[0])
            if number >= 10 and ratio.value - 1.645 * ratio.error > 0.9:
                wrong += 1
                break

    assert wrong > 30


def test_the_price_of_looking_grows_slowly() -> None:
    """From ten clusters to a million by less than a half, through a hundred half-lives to less than five."""
    first = errors_wide(10, 0, alpha=0.05, first=10)

    assert 2.5 < first < 3.5
    assert errors_wide(10**6, 0, alpha=0.05, first=10) < 1.5 * first
    assert errors_wide(60, 100, alpha=0.05, first=10) < 5


@given(st.lists(st.floats(0, 1e6, allow_subnormal=False), min_size=1, max_size=300))
def test_multipliers_grow_with_the_level_and_are_scores(scores: list[float]) -> None:
    """Each level's is the smallest score that enough of all lie at or below."""
    found = multipliers_of(scores)

    assert all(narrow < wide for narrow, wide in pairwise(found))
    for level, multiplier in zip(INTERVAL_LEVELS, found, strict=True):
        held = sum(score <= multiplier for score in scores)
        assert held >= min(len(scores), (len(scores) + 1) * level)


def test_calibration_follows_a_change_of_regime() -> None:
    """Scores twice as large from one day on: 500 outcomes later every interval is wide enough again."""
    rng = Random(5)
    fold = EvidenceFold(FOR_EVER)
    calibrated = []
    for offset, (close_ms, _) in enumerate(bars(2000)):
        fold.take(offset, outcome_of(close_ms, trial_of(score=abs(rng.gauss(0, 2 if offset >= 1000 else 1)))))
        if offset in {999, 1499}:
            calibrated.append(fold.evidence("ridge@1").calibration)
    before, after = calibrated

    assert before is not None
    assert after is not None
    wide = [late / early for early, late in zip(before.multipliers["*"], after.multipliers["*"], strict=True)]
    assert mean(wide) == pytest.approx(2.0, abs=0.25)
    assert before.version != after.version


def test_each_instrument_is_calibrated_by_its_own_outcomes() -> None:
    """Once it has enough of them; until then there are only the pooled ones."""
    record = [
        outcome_of(close_ms, trial_of(score=2.0 if symbol == "NZDUSD" else 1.0), symbol=symbol)
        for close_ms, symbol in bars(150, symbols=("EURUSD", "NZDUSD"))
    ]
    early = known(record).calibration
    assert early is not None
    assert set(early.multipliers) == {"*"}

    more = [outcome_of(close_ms, trial_of(score=2.0), symbol="NZDUSD") for close_ms, _ in bars(400)][150:]
    late = known([*record, *more]).calibration
    assert late is not None
    assert set(late.multipliers) == {"*", "NZDUSD"}
    assert late.multipliers["NZDUSD"][0] == 2.0


def test_lost_coverage_shows_as_drift() -> None:
    """None while promises are kept; after some hours of covering less than promised, for certain."""
    rng = Random(6)
    kept = [outcome_of(close, trial_of(inside=honest_inside(rng))) for close, _ in bars(CLUSTER_BARS * 100)]
    assert known(kept).drift == 0.0

    later = START_MS + len(kept) * BAR_MS
    lost = [
        outcome_of(later + number * BAR_MS, trial_of(inside=honest_inside(rng, short=0.2)))
        for number in range(CLUSTER_BARS * 60)
    ]
    assert known([*kept, *lost]).drift > 0.05


def test_failures_are_counted_among_the_latest_requests() -> None:
    """Three of ten."""
    record = [
        outcome_of(close, failed={"ridge@1": "inference_failed"})
        if number < 3
        else outcome_of(close, trial_of())
        for number, (close, _) in enumerate(bars(10))
    ]
    evidence = known(record)

    assert (evidence.asked, evidence.failures, evidence.outcomes) == (10, 3, 7)
    assert evidence.service_ms == (0.25, 0.25)


def test_only_what_changed_is_told_again() -> None:
    """A model without a new outcome is silent; of many, a few are told at once."""
    fold = folded([outcome_of(START_MS, *(trial_of(f"{name}@1") for name in "abc"))])
    assert [found.model for found in fold.changed(2)] == ["a@1", "b@1"]
    assert [found.model for found in fold.changed(2)] == ["c@1"]
    assert fold.changed(2) == []

    fold.take(1, outcome_of(START_MS + BAR_MS, trial_of("b@1")))
    assert [found.model for found in fold.changed(2)] == ["b@1"]


def test_the_history_has_a_point_for_every_stretch() -> None:
    """Fifteen minutes each, oldest first, with what was covered in it."""
    record = [
        outcome_of(
            close, trial_of(inside=0 if number < 90 else LEVELS), trial_of("naive@1"), control="naive@1"
        )
        for number, (close, _) in enumerate(bars(271))
    ]
    points = known(record).history

    assert [point.n for point in points] == [90, 90, 90]
    assert [point.coverage["0.90"] for point in points] == [1.0, 0.0, 0.0]
    assert [point.skill for point in points] == [0.0, 0.0, 0.0]
    assert points[1].from_ms == points[0].to_ms
