"""Scores and their bounds agree with their definitions and with simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]

from inference.calibration import RawOutputs
from models.card import Calibration
from models.task import INTERVAL_LEVELS
from training.calibrate import calibrate
from training.data import Samples
from training.evidence import beats, clustered_error, losses_of, mean, share, skill, wilson


def samples_with(outcome: np.ndarray, *, every_ms: int = 10_000) -> Samples:
    """Samples of which only the outcome matters."""
    n = len(outcome)
    return Samples(
        instrument=np.array(["EURUSD"] * n),
        close_ms=np.arange(n) * every_ms,
        window=np.zeros((n, 256), np.float32),
        context=np.zeros((n, 8), np.float32),
        outcome=outcome,
    )


def raw_with(location: np.ndarray, scale: np.ndarray, logit: np.ndarray | None = None) -> RawOutputs:
    """Raw outputs as a graph gives them."""
    logit = np.zeros(len(location)) if logit is None else logit
    return RawOutputs(*(values.astype(np.float32) for values in (location, scale, logit)))


def calibration_with(multiplier: float) -> Calibration:
    """One multiplier for all levels."""
    return Calibration(
        version="t", n=1, multipliers={f"{level:.2f}": multiplier for level in INTERVAL_LEVELS}
    )


def test_conformal_intervals_cover_what_they_promise() -> None:
    """On fresh draws of the same source, whatever its shape, coverage is the level within sampling error."""
    rng = np.random.default_rng(1)
    scale = np.exp(rng.normal(size=20_000))
    outcome = rng.standard_t(3, 20_000) * scale
    half = 10_000
    raw = raw_with(np.zeros(half), scale[:half])

    calibration = calibrate(raw, samples_with(outcome[:half]), samples_with(outcome[:half]), version="v")

    for level in INTERVAL_LEVELS:
        inside = np.abs(outcome[half:]) <= calibration.multiplier(level) * scale[half:]
        assert inside.mean() == pytest.approx(level, abs=4 * math.sqrt(level * (1 - level) / half * 2))


def test_conformal_rank_is_the_finite_sample_one() -> None:
    """Of 9 scores the 0.9 quantile is the 9th, for ceil(10 x 0.9) = 9; beyond it there is none better."""
    scores = np.arange(1.0, 10.0)
    calibration = calibrate(
        raw_with(np.zeros(9), np.ones(9)), samples_with(scores), samples_with(scores), version="v"
    )

    assert calibration.multiplier(0.50) == 5.0
    assert calibration.multiplier(0.90) == 9.0
    assert calibration.multiplier(0.99) == 9.0


def test_platt_slope_recovers_the_truth_and_is_never_negative() -> None:
    """Log odds that are twice too small get slope 2; log odds that point the wrong way get 0."""
    rng = np.random.default_rng(2)
    truth = rng.normal(size=20_000)
    rise = rng.random(20_000) < 1 / (1 + np.exp(-truth))
    outcome = np.where(rise, 1e-4, -1e-4)
    ones = np.ones(20_000)

    def slope(logit: np.ndarray) -> float:
        samples = samples_with(outcome)
        return calibrate(raw_with(outcome * 0, ones, logit), samples, samples, version="v").up_slope

    assert slope(truth / 2) == pytest.approx(2, abs=0.1)
    assert slope(-truth) == 0
    assert slope(truth * 0) == 0


def test_interval_score_by_hand() -> None:
    """Inside: alpha / 2 x width at every level; outside: the miss is added. In basis points."""
    losses = losses_of(
        raw_with(np.zeros(2), np.array([1e-4, 1e-4])), calibration_with(1.0), np.array([0.5e-4, 3e-4])
    )

    width = float(np.mean([1 - level for level in INTERVAL_LEVELS]))
    assert losses.interval == pytest.approx([width, width + 2], rel=1e-6)
    assert [hit.tolist() for hit in losses.inside.values()] == [[1.0, 0.0]] * len(INTERVAL_LEVELS)


def test_pinball_by_hand() -> None:
    """The mean over q05, q50 and q95 of the tilted distance."""
    losses = losses_of(raw_with(np.zeros(1), np.array([1e-4])), calibration_with(1.0), np.array([2e-4]))

    assert losses.pinball == pytest.approx([(0.05 * 3 + 0.5 * 2 + 0.95 * 1) / 3], rel=1e-6)


def test_no_opinion_is_half_right() -> None:
    """Direction: right 1, wrong 0, none 1/2."""
    outcome, logit = np.array([1.0, -1.0, 1.0]), np.array([2.0, 2.0, 0.0])

    losses = losses_of(raw_with(outcome, outcome**2, logit), calibration_with(1.0), outcome)

    assert losses.right_direction.tolist() == [1.0, 0.0, 0.5]


def test_clustered_error_is_that_of_cluster_means() -> None:
    """With clusters of equal size it is the textbook error of the mean of their means."""
    values = np.random.default_rng(3).normal(size=(50, 20)) + np.random.default_rng(4).normal(size=(50, 1))
    clusters = np.repeat(np.arange(50), 20)

    assert clustered_error(values.ravel(), clusters) == pytest.approx(stats.sem(values.mean(axis=1)))


def test_bounds_hold_for_clustered_draws() -> None:
    """95 % bounds hold the truth in about 95 % of made-up worlds, where naive bounds would not."""
    rng = np.random.default_rng(5)
    clusters = np.repeat(np.arange(60), 30)
    held = []
    for _ in range(400):
        hits = (rng.normal(size=(60, 1)) + rng.normal(size=(60, 30)) < 0).astype(float).ravel()
        measured = share(hits, clusters)
        held.append(measured.lower <= 0.5 <= measured.upper)

    assert 0.90 <= np.mean(held) <= 0.99


def test_wilson_agrees_with_an_independent_implementation() -> None:
    """Against scipy's, at several shares and sizes."""
    for hits, n in ((0, 10), (3, 20), (95, 100), (100, 100)):
        expected = stats.binomtest(hits, n).proportion_ci(method="wilson")
        assert wilson(hits / n, n) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_skill_and_its_bounds() -> None:
    """Half the loss is skill 0.5; a model against itself has skill 0 without any error."""
    rng = np.random.default_rng(6)
    naive = rng.exponential(size=6000)
    clusters = np.repeat(np.arange(100), 60)

    same, half = skill(naive, naive, clusters), skill(naive / 2, naive, clusters)

    assert (same.value, same.lower, same.upper) == (0, 0, 0)
    assert (half.value, half.lower, half.upper) == pytest.approx((0.5, 0.5, 0.5))
    assert mean(naive, clusters).lower < 1 < mean(naive, clusters).upper


def test_better_by_chance_does_not_beat() -> None:
    """A model must be better by two standard errors, not by a lucky week."""
    rng = np.random.default_rng(7)
    outcome = rng.normal(0, 1e-4, 5000)
    samples = samples_with(outcome, every_ms=60_000)
    right = losses_of(raw_with(outcome * 0, outcome * 0 + 1e-4), calibration_with(1.0), outcome)
    noise = raw_with(outcome * 0 + 1e-8, outcome * 0 + 1e-4)
    wrong = losses_of(raw_with(outcome * 0, outcome * 0 + 3e-4), calibration_with(1.0), outcome)

    assert beats(right, wrong, samples)
    assert not beats(wrong, right, samples)
    assert not beats(losses_of(noise, calibration_with(1.0), outcome), right, samples)
