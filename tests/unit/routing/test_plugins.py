"""Each scorer and picker by itself: range, direction and ties."""

from __future__ import annotations

from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.latency import Completion
from routing.pickers.best import BestPicker
from routing.pickers.tightest_fit import TightestFitPicker
from routing.plugin import Traits
from routing.scorers.completion import CompletionScorer
from routing.scorers.cost import CostScorer
from routing.scorers.skill import SkillScorer

BEST = BestPicker(type="best")
TIGHTEST = TightestFitPicker(type="tightest_fit", headroom=0.1)
several = st.lists(st.floats(-3.0, 3.0), min_size=2, max_size=6)


def completion(expected_ms: list[float], budget_ms: float) -> Completion:
    """Predictions that are sure."""
    return Completion(np.array(expected_ms), budget_ms, np.array(expected_ms))


@given(several)
def test_skill_rises_within_0_and_1(skills: list[float]) -> None:
    """More skill never scores less, whatever its sign."""
    scores = SkillScorer(type="skill").of_traits(Traits(np.zeros(len(skills)), np.array(sorted(skills))))

    assert ((scores >= 0) & (scores <= 1)).all()
    assert (np.diff(scores) >= 0).all()
    assert SkillScorer(type="skill").of_traits(Traits(np.zeros(1), np.zeros(1))).tolist() == [0.5]


@given(st.lists(st.floats(0.0, 1e6), min_size=2, max_size=6))
def test_cost_falls_within_0_and_1(costs: list[float]) -> None:
    """A dearer model never scores more; free is 1, `half` is 0.5."""
    scorer = CostScorer(type="cost", half=2.0)
    scores = scorer.of_traits(Traits(np.array(sorted(costs)), np.zeros(len(costs))))

    assert ((scores >= 0) & (scores <= 1)).all()
    assert (np.diff(scores) <= 0).all()
    assert scorer.of_traits(Traits(np.array([0.0, 2.0]), np.zeros(2))).tolist() == [1.0, 0.5]


def test_completion_is_the_share_of_the_budget_that_is_left() -> None:
    """At once is 1, just in time is 0."""
    scores = CompletionScorer(type="completion").of_completion(np.array([0.0, 25.0, 100.0]), 100.0)

    assert scores.tolist() == [1.0, 0.75, 0.0]


@pytest.mark.parametrize(
    ("scores", "ties", "picked"),
    [
        ([0.1, 0.9, 0.5], None, {1}),
        ([0.9, 0.9, 0.9], [0.1, 0.3, 0.2], {1}),
        ([0.9, 0.9, 0.1], [0.1, 0.1, 0.9], {0, 1}),
        ([0.9, 0.9 + 1e-12, 0.1], None, {0, 1}),
        ([-1.0, 0.0, -2.0], None, {1}),
    ],
)
def test_best_picks_the_highest_then_by_ties_then_at_random(
    scores: list[float], ties: list[float] | None, picked: set[int]
) -> None:
    """Equal within rounding is a tie; ties go by the second ranking, and what is left by the seed."""
    rng = Random(1)
    ranks = None if ties is None else np.array(ties)
    anything = completion([1.0] * len(scores), 2.0)
    choices = Counter(BEST.pick(np.array(scores), ranks, anything, rng.getrandbits(53)) for _ in range(200))

    assert set(choices) == picked
    assert min(choices.values()) > 200 / len(picked) * 0.7


def test_best_picks_none_where_nothing_fits() -> None:
    """Only marked candidates: no choice."""
    assert BEST.pick(np.array([-1.0, -2.0]), None, completion([1.0, 1.0], 2.0), 0) is None


@pytest.mark.parametrize(
    ("quantiles_ms", "scores", "picked"),
    [
        ([20.0, 60.0, 80.0], [0.9, 0.5, 0.5], {2}),  # the largest that leaves a tenth of 100 ms
        ([20.0, 60.0, 95.0], [0.9, 0.5, 0.9], {1}),  # 95 ms fits, but leaves less
        ([91.0, 95.0, 99.0], [0.1, 0.5, 0.9], {0}),  # none leaves a tenth: the smallest
        ([80.0, 80.0, 20.0], [0.2, 0.7, 0.9], {1}),  # equal ones by score
        ([80.0, 80.0, 20.0], [0.7, 0.7, 0.9], {0, 1}),  # and then at random
        ([20.0, 60.0, 80.0], [0.9, 0.5, -1.0], {1}),  # what must not be chosen is not
    ],
)
def test_tightest_fit_picks_the_slowest_that_leaves_headroom(
    quantiles_ms: list[float], scores: list[float], picked: set[int]
) -> None:
    """Fast candidates stay free for tight deadlines; a promise is still kept with room to spare."""
    rng = Random(1)
    offered = completion(quantiles_ms, 100.0)
    choices = Counter(TIGHTEST.pick(np.array(scores), None, offered, rng.getrandbits(53)) for _ in range(200))

    assert set(choices) == picked
    assert min(choices.values()) > 200 / len(picked) * 0.7


def test_tightest_fit_picks_none_where_nothing_fits() -> None:
    """Only marked candidates: no choice."""
    assert TIGHTEST.pick(np.array([-1.0, -1.0]), None, completion([1.0, 2.0], 5.0), 0) is None


@given(
    st.lists(st.tuples(st.floats(-1.0, 1.0), st.floats(0.1, 200.0)), min_size=1, max_size=8), st.integers(0)
)
def test_no_picker_takes_what_must_not_be_chosen(offers: list[tuple[float, float]], seed: int) -> None:
    """Whatever is offered, the choice has a score of at least 0, and there is one if any has."""
    scores = np.array([score for score, _ in offers])
    offered = completion([quantile for _, quantile in offers], 100.0)
    for picker in (BEST, TIGHTEST):
        choice = picker.pick(scores, None, offered, seed % (1 << 53))

        assert (choice is None) == bool((scores < 0.0).all())
        assert choice is None or scores[choice] >= 0.0
