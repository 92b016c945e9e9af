"""Which replica holds which model: every replica by itself, and all of them the same plan."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.pool.placement import Seat, belongs
from deployments.router.catalogue_fold import Entry
from models.card import ModelStatus
from models.events import Origin
from tests.support.cards import a_card

MODELS = [f"m{number}" for number in range(1000)]


def entry(name: str, status: ModelStatus = ModelStatus.CANDIDATE) -> Entry:
    """A registered model."""
    return Entry(a_card(name).model_copy(update={"status": status}), Origin.REGISTERED, "")


def holders(name: str, replicas: int, copies: int = 2) -> set[int]:
    """The ranks that hold a candidate."""
    return {rank for rank in range(replicas) if belongs(entry(name), Seat(rank, replicas), copies=copies)}


@given(name=st.sampled_from(MODELS), replicas=st.integers(1, 12), copies=st.integers(1, 4))
def test_every_model_has_its_copies(name: str, replicas: int, copies: int) -> None:
    """As many as there are replicas for."""
    assert len(holders(name, replicas, copies)) == min(replicas, copies)


def test_models_are_spread_evenly() -> None:
    """A thousand models in two copies on four replicas: about 500 each."""
    held = Counter(rank for name in MODELS for rank in holders(name, 4))

    assert sum(held.values()) == 2000
    assert all(440 < count < 560 for count in held.values())


@given(name=st.sampled_from(MODELS), replicas=st.integers(1, 11))
def test_a_newcomer_takes_over_and_moves_nothing_else(name: str, replicas: int) -> None:
    """Whoever held a model holds it still, or the newcomer does instead."""
    before, after = holders(name, replicas), holders(name, replicas + 1)

    assert after - before <= {replicas}


@pytest.mark.parametrize("rank", range(4))
def test_live_models_are_everywhere(rank: int) -> None:
    """That is where the traffic goes."""
    assert belongs(entry("m1", ModelStatus.LIVE), Seat(rank, 4), copies=1)


def test_without_a_rank_nothing_is_left_out() -> None:
    """Rather too much for a moment than a model that nobody holds."""
    assert all(belongs(entry(name), Seat(None, 4), copies=1) for name in MODELS[:50])
