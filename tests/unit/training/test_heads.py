"""Graphs agree with the estimators they were written from, and the same seed gives the same bytes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.unit.training.synthetic import PLAN
from training.artefact import artefact_of
from training.data import Samples
from training.heads.base import Head
from training.heads.controls import Naive, Reversal
from training.heads.linear import LogitHead, RidgeHead
from training.heads.mlp import MlpHead
from training.heads.reservoir import ReservoirHead
from training.heads.trees import TreesHead
from training.inputs import Standard, TrainingSet, training_set
from training.measure import outputs_of

SEED = 7


def small_families() -> dict[str, Head]:
    """All families, the heavy one made light."""
    heads: list[Head] = [Naive(), Reversal(), RidgeHead(), LogitHead(), MlpHead(SEED), TreesHead(SEED)]
    return {head.about.name: head for head in [*heads, ReservoirHead(SEED, units=16)]}


HEADS = small_families()


@pytest.fixture(scope="module", params=HEADS)
def fitted(request: pytest.FixtureRequest, learned: TrainingSet) -> Head:
    """Every family, fitted on made-up ticks."""
    head = HEADS[request.param]
    head.fit(learned)
    return head


def test_graph_and_estimator_agree(fitted: Head, unseen: Samples, standard: Standard) -> None:
    """Location and scale agree to 2e-6 of the expected move, the logit to 2e-6, in rows never seen."""
    seen_by_heads = training_set(unseen, standard, PLAN.horizon_bars)

    raw = outputs_of(artefact_of(fitted, standard, PLAN.horizon_bars), unseen)

    original = fitted.predict(seen_by_heads)
    volatility = np.maximum(np.sqrt(np.mean(unseen.window.astype(float) ** 2, axis=1)), 1e-6)
    expected_move = volatility * math.sqrt(PLAN.horizon_bars)
    assert np.abs(raw.location / expected_move - original.z_location).max() < 2e-6
    assert np.abs(raw.scale / expected_move / np.exp(original.log_scale) - 1).max() < 2e-6
    assert np.abs(raw.logit_up - original.logit_up).max() < 2e-6


def test_the_same_seed_gives_the_same_bytes(fitted: Head, learned: TrainingSet, standard: Standard) -> None:
    """A second fit from the same seed writes the same artefact."""
    again = small_families()[fitted.about.name]
    again.fit(learned)

    assert artefact_of(again, standard, 3) == artefact_of(fitted, standard, 3)


def test_the_reversal_rule_points_back(unseen: Samples, standard: Standard) -> None:
    """After a rise it expects a fall, after a fall a rise, after no move nothing."""
    raw = outputs_of(artefact_of(HEADS["reversal"], standard, 3), unseen)

    assert (np.sign(raw.location) == -np.sign(unseen.window[:, -1])).all()


def test_ridge_sees_that_volatility_comes_in_clusters(
    unseen: Samples, standard: Standard, learned: TrainingSet
) -> None:
    """Where the made-up market is violent its scale, in units of the window's volatility, is larger."""
    ridge = small_families()["ridge"]
    ridge.fit(learned)
    test = training_set(unseen, standard, PLAN.horizon_bars)

    log_scale = ridge.predict(test).log_scale
    burst = np.abs(test.returns[:, -8:]).mean(axis=1)

    assert np.corrcoef(log_scale, burst)[0, 1] > 0.3
