"""How many calls one process may have under way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.load import LoadTable, ReplicaMeta
from routing.protection.places import Places, PlacesConfig, Usage, usage_of


def settled(usage: Usage, *, inside: int = 0, config: PlacesConfig | None = None) -> int:
    """The places after many steps under the same conditions."""
    places = Places(config or PlacesConfig())
    for _ in range(200):
        places.follow(usage, inside=inside)
    return places.now


def test_alone_and_knowing_nothing_a_process_has_the_slots() -> None:
    """Own calls are not held against it."""
    assert settled(Usage(16, 12.0), inside=12) == 16


def test_without_replicas_one_place_remains() -> None:
    """So that the engine, which knows more, can say why nothing works."""
    assert settled(Usage(0, 0.0)) == 1


def test_a_pool_that_asks_the_others_has_no_slots_of_its_own() -> None:
    """Ensembles would otherwise let in as many requests as there are calls of theirs."""
    load = LoadTable()
    load.replicas_updated("pool", [("r1", ReplicaMeta("pool", "cpu", 4, {}))], now_ns=0)
    load.replicas_updated("asks", [("e1", ReplicaMeta("asks", "cpu", 64, {}, local=True))], now_ns=0)

    assert usage_of(load.snapshot(0), 0, aside="asks").slots == 4
    assert usage_of(load.snapshot(0), 0).slots == 68


@pytest.mark.parametrize(("way_ms", "places"), [(0.0, 16), (2.0, 48), (150.0, 256)])
def test_a_long_way_takes_more_calls_to_keep_the_slots_busy(way_ms: float, places: int) -> None:
    """Little's law, whatever the queue; at most 16 calls a slot."""
    learned = Places(PlacesConfig())
    for queue_ms in range(50):
        learned.answered(elapsed_ms=1.0 + way_ms + queue_ms, queue_ms=queue_ms, service_ms=1.0)
    learned.follow(Usage(16, 0.0), inside=0)

    assert learned.now == places


@pytest.mark.parametrize("processes", [2, 4, 8])
def test_processes_that_give_way_share_what_there_is(processes: int) -> None:
    """Even if one had everything: soon no other has less than half of it, and all together little more than
    one alone would have.
    """
    places = [Places(PlacesConfig()) for _ in range(processes)]
    inside = [160] + [0] * (processes - 1)
    for _ in range(2000):
        total = sum(inside)
        for own, held in zip(places, inside, strict=True):
            own.follow(Usage(160, total), inside=held)
        inside = [own.now for own in places]

    assert max(inside) <= 2 * min(inside)
    assert 160 <= sum(inside) <= 1.1 * 160


@given(st.integers(0, 100), st.floats(0, 1e6), st.integers(0, 1000))
def test_places_are_between_one_and_the_slots(slots: int, calls: float, inside: int) -> None:
    """Whatever is believed of others."""
    assert 1 <= settled(Usage(slots, calls), inside=inside) <= max(1, slots)


def test_replicas_that_are_out_have_no_places() -> None:
    """Slots of an ejected replica count again when it is back."""
    load = LoadTable()
    meta = ReplicaMeta("pool", "cpu", 4, {})
    load.replicas_updated("pool", [("r1", meta), ("r2", meta)], now_ns=0)
    load.unreachable("r2", now_ns=0)

    assert usage_of(load.snapshot(0), 0).slots == 4
    assert usage_of(load.snapshot(60_000_000_000), 60_000_000_000).slots == 8
