"""How many calls one process may have under way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.admission import AdmissionConfig
from routing.load import LoadTable, ReplicaMeta
from routing.places import Usage, places_for, usage_of

CONFIG = AdmissionConfig(ahead_share=0.25, yield_share=0.5)


def test_alone_a_process_has_the_slots_and_a_little_more() -> None:
    """Own calls are not held against it."""
    assert places_for(Usage(16, 12.0), inside=12, config=CONFIG) == 20


def test_without_replicas_one_place_remains() -> None:
    """So that the engine, which knows more, can say why nothing works."""
    assert places_for(Usage(0, 0.0), inside=0, config=CONFIG) == 1


@pytest.mark.parametrize("processes", [2, 4, 8])
def test_processes_that_give_way_settle_at_equal_shares(processes: int) -> None:
    """From any start: followed smoothly, all hold the same, and together at most twice the slots."""
    inside = [400.0 * (number == 0) for number in range(processes)]
    for _ in range(200):
        total = sum(inside)
        wanted = [places_for(Usage(160, total), inside=round(own), config=CONFIG) for own in inside]
        inside = [own + 0.3 * (aim - own) for own, aim in zip(inside, wanted, strict=True)]

    assert max(inside) - min(inside) <= 4.0
    assert sum(inside) == pytest.approx(200 * processes / (1 + 0.5 * (processes - 1)), rel=0.05)


@given(st.integers(0, 100), st.floats(0, 1e6), st.integers(0, 1000))
def test_places_are_between_one_and_all(slots: int, calls: float, inside: int) -> None:
    """Whatever is believed of others."""
    assert 1 <= places_for(Usage(slots, calls), inside=inside, config=CONFIG) <= max(1, 1.25 * slots + 0.5)


def test_replicas_that_are_out_have_no_places() -> None:
    """Slots of an ejected replica count again when it is back."""
    load = LoadTable()
    meta = ReplicaMeta("pool", "cpu", 4, {})
    load.replicas_updated("pool", [("r1", meta), ("r2", meta)], now_ns=0)
    load.unreachable("r2", now_ns=0)

    assert usage_of(load.snapshot(0), 0).slots == 4
    assert usage_of(load.snapshot(60_000_000_000), 60_000_000_000).slots == 8
