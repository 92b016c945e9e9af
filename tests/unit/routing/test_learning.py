"""What calls teach of speed: learned, shared, faded, and never overdone."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from routing.beliefs.placement import UNKNOWN_SERVICE_MS
from routing.load import Outcome
from tests.support.cards import a_card
from tests.unit.routing.beliefs import CARD, answered, learned, ns, service_ms, standing, tail
from tests.unit.routing.worlds import a_decision, a_report, a_table, holding


def test_unknown_speed_is_the_warm_profile() -> None:
    """Before anything is measured a replica is as fast as the warm profile says, never infinitely fast."""
    table = a_table({"a": holding(CARD)})

    assert service_ms(table.snapshot(ns()), "a") == 10.0


def test_one_wild_measurement_is_not_overdone() -> None:
    """A first call that took 500 times as long makes the replica twenty times as slow at most, once for
    replica and model together; if it is so, a few calls tell.
    """
    table = a_table({"a": holding(CARD)})
    learned(table, {"a": 5000.0}, times=1)
    once = service_ms(table.snapshot(ns()), "a")
    learned(table, {"a": 5000.0}, times=4)

    assert 50.0 < once <= 200.0
    assert 2000.0 < service_ms(table.snapshot(ns()), "a") <= 5000.0


@pytest.mark.parametrize(("service", "way"), [(30.0, 0.2), (0.02, 60.0)])
def test_pauses_do_not_set_pace_and_speed_against_each_other(service: float, way: float) -> None:
    """Calls of 20 us in this process, one in fifty of which meets a pause of the processor or of the loop: no
    model there is believed to take a thousand times as long, or as short, be it called or not.
    """
    tiny, other = a_card("tiny", warm_ms=0.02), a_card("other", warm_ms=0.02)
    table = a_table({"a": replace(holding(tiny, other), local=True)})
    for seq in range(2000):
        took_ms, way_ms = (service, way) if seq % 50 == 0 else (0.02, 0.1)
        report = a_report("a", seq=seq, service_ms=took_ms)
        answered(table, "a", at_ms=seq * 2, elapsed_ms=took_ms + way_ms, report=report, card=tiny)

    for card in (tiny, other):
        assert 0.01 < service_ms(table.snapshot(ns(4000)), "a", card) < 0.2


def test_a_stopped_caller_makes_no_replica_slow() -> None:
    """Where calls to all replicas are late at once it is the caller that was late, as one that is overloaded
    is for seconds; where those to one of them are, or are far later, it is the replica.
    """
    table = a_table({name: holding(CARD) for name in "abcd"})
    learned(table, dict.fromkeys("abcd", 10.0))
    for seq in range(100, 140):
        for name in "abcd":
            report = a_report(name, seq=seq, service_ms=10.0)
            answered(table, name, at_ms=seq * 20, elapsed_ms=1000.0, report=report)
    overloaded = table.snapshot(ns(2800))
    for seq in range(200, 210):
        others = a_report("b", seq=seq, service_ms=10.0)
        answered(table, "b", at_ms=seq * 40, elapsed_ms=60.0, report=others)
        report = a_report("a", seq=seq, service_ms=10.0)
        answered(table, "a", at_ms=seq * 40, elapsed_ms=1000.0, report=report)
    stopped = table.snapshot(ns(8400))

    assert max(standing(overloaded, name).slowdown for name in "abcd") < 3.0
    assert standing(stopped, "a").slowdown > 10.0


def test_model_without_profile_is_as_fast_as_its_pool() -> None:
    """A model nobody measured starts at the median of its pool; in a pool of such, at a fixed guess."""
    blank = a_card("blank").model_copy(update={"warm": ()})
    others = [a_card("quick", warm_ms=4.0), a_card("slow", warm_ms=8.0)]
    mixed = a_table({"a": holding(blank, *others)}).snapshot(ns())
    alone = a_table({"a": holding(blank)}).snapshot(ns())

    assert service_ms(mixed, "a", blank) == 6.0
    assert service_ms(alone, "a", blank) == UNKNOWN_SERVICE_MS


def test_unmeasured_replica_is_as_fast_as_the_middle_of_its_cohort() -> None:
    """What is learned of some replicas of a pool and hardware is believed of the rest, and of no others."""
    table = a_table(
        {name: holding(CARD) for name in "abcd"}
        | {"gpu": holding(CARD, hardware="gpu"), "far": holding(CARD, pool="far")}
    )
    learned(table, {"a": 20.0, "b": 30.0, "c": 70.0})

    snapshot = table.snapshot(ns())

    assert service_ms(snapshot, "b") == pytest.approx(30.0, rel=0.1)
    assert service_ms(snapshot, "d") == pytest.approx(30.0, rel=0.1)
    assert 20.0 <= service_ms(snapshot, "a") < 0.8 * service_ms(snapshot, "b")
    assert 2.0 * service_ms(snapshot, "b") < service_ms(snapshot, "c") <= 70.0
    assert [service_ms(snapshot, name) for name in ("gpu", "far")] == [10.0, 10.0]


def test_slow_replica_is_slow_for_every_model() -> None:
    """What one model measured of a replica is believed of the others there, which were never called."""
    other = a_card("other", warm_ms=40.0)
    table = a_table({name: holding(CARD, other) for name in "abc"})
    learned(table, {"a": 50.0, "b": 10.0, "c": 10.0})

    snapshot = table.snapshot(ns())

    slower = service_ms(snapshot, "a") / service_ms(snapshot, "b")
    assert slower > 3.5
    assert service_ms(snapshot, "a", other) / service_ms(snapshot, "b", other) == pytest.approx(slower)


@pytest.mark.parametrize(("age_ms", "left"), [(0, 1.0), (1000, math.exp(-1)), (20_000, 0.0)])
def test_stale_pace_relaxes_to_the_middle(age_ms: int, left: float) -> None:
    """A pace seen `age` ago counts m + (v - m) exp(-age / 1 s): a replica slow once is tried again."""
    table = a_table({name: holding(CARD) for name in "abc"})
    learned(table, {"a": 110.0, "b": 10.0, "c": 10.0})
    fresh, later = (table.snapshot(ns(ms)) for ms in (0, age_ms))

    beyond = standing(fresh, "a").slowdown - standing(fresh, "b").slowdown
    still_beyond = standing(later, "a").slowdown - standing(later, "b").slowdown

    assert beyond > 5.0
    assert still_beyond == pytest.approx(left * beyond, abs=0.01)


def test_common_speed_relaxes_to_the_warm_profile() -> None:
    """A pool that was slow everywhere and is asked no more is believed fast again within minutes."""
    table = a_table({"a": holding(CARD)})
    learned(table, {"a": 5000.0})

    assert service_ms(table.snapshot(ns()), "a") == pytest.approx(5000.0, rel=0.1)
    assert 100.0 < service_ms(table.snapshot(ns(30_000)), "a") < 2500.0
    assert service_ms(table.snapshot(ns(600_000)), "a") == pytest.approx(10.0, rel=1e-3)


def test_failure_makes_slow_and_speaks_for_nobody_else() -> None:
    """Failing fast makes a replica slow, not attractive, and leaves the others as they were."""
    table = a_table({"a": holding(CARD), "b": holding(CARD)})
    answered(table, "a", outcome=Outcome.FAILED, elapsed_ms=1.0)

    snapshot = table.snapshot(ns())

    assert service_ms(snapshot, "a") > 25.0
    assert service_ms(snapshot, "b") == 10.0


def test_promises_widen_with_what_was_missed() -> None:
    """After completions that took thrice the prediction the tail covers them, and fades to the warm one."""
    table = a_table({"a": holding(CARD)})
    before = tail(table.snapshot(ns()), "a")
    for seq in range(100):
        answered(table, "a", elapsed_ms=36.0, report=a_report("a", seq=seq))

    assert before < 2.0
    assert tail(table.snapshot(ns()), "a") == pytest.approx(3.0)
    assert tail(table.snapshot(ns(600_000)), "a") == pytest.approx(before, rel=1e-3)


def test_promises_behind_a_queue_are_learned_apart() -> None:
    """What a call that was served at once taught says nothing of one that waits behind others."""
    table = a_table({"a": holding(CARD)})
    deep = tail(table.snapshot(ns()), "a", depth=1)
    for seq in range(100):
        answered(table, "a", elapsed_ms=36.0, report=a_report("a", seq=seq))

    assert tail(table.snapshot(ns()), "a", depth=1) == pytest.approx(deep)


def test_hop_is_learned_from_what_the_replica_did_not_account_for() -> None:
    """Elapsed less queue and service is the way there and back; it moves slowly from its first guess."""
    table = a_table({"a": holding(CARD)})
    for seq in range(100):
        answered(table, "a", elapsed_ms=20.0, report=a_report("a", seq=seq, service_ms=10.0, queue_ms=3.0))

    assert table.snapshot(ns()).hop_ms["pool"] == pytest.approx(7.0, rel=1e-3)


def test_call_that_is_overdue_tells_before_it_ends() -> None:
    """A call out for far more than was expected makes its replica slow, and nothing else did."""
    table = a_table({"a": holding(CARD), "b": holding(CARD)})
    for replica in "ab":
        table.sent(
            a_decision(replica, CARD, expected_ms=10.0 if replica == "a" else 1000.0), rows=1, now_ns=ns()
        )

    snapshot = table.snapshot(ns(1000))

    assert standing(snapshot, "b").slowdown == 2.0
    assert standing(snapshot, "a").slowdown == pytest.approx(2.0 * (1000 / 10 - 8))
