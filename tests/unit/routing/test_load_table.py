"""What a process knows of replicas: who is there, how busy, which are out; a view of it for each moment."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import pytest

from routing.load import LoadConfig, LoadTable, Outcome
from tests.unit.routing.beliefs import CARD, answered, calls, learned, ns, service_ms, standing
from tests.unit.routing.worlds import a_decision, a_report, a_table, holding


def test_own_calls_are_counted_until_they_end() -> None:
    """A send adds one call to the replica and its end takes it away, once, however often it is reported."""
    table = a_table({"a": holding(CARD)})
    flights = [table.sent(a_decision("a", CARD), rows=1, now_ns=ns()) for _ in range(3)]

    assert calls(table.snapshot(ns()), "a") == 3
    for _ in range(2):
        table.finished(flights[0], outcome=Outcome.CANCELLED, elapsed_ms=1.0, now_ns=ns())
    assert calls(table.snapshot(ns()), "a") == 2


def test_queue_delays_by_what_does_not_fit_the_slots() -> None:
    """Two slots and three calls ahead: the next one takes twice the service time, and waits behind others."""
    table = a_table({"a": holding(CARD, slots=2)})
    for _ in range(3):
        table.sent(a_decision("a", CARD), rows=1, now_ns=ns())

    stands = standing(table.snapshot(ns()), "a")

    assert (stands.slowdown, stands.rank, stands.depth) == (2.0, 2.0, 1)


def test_foreign_calls_are_heard_and_fade() -> None:
    """What a report counts beyond our own calls is believed, and halves every tau x ln 2."""
    table = a_table({"a": holding(CARD)}, LoadConfig(forecast=False))
    table.sent(a_decision("a", CARD), rows=1, now_ns=ns())
    answered(table, "a", report=a_report("a", queued=4, in_service=1))

    assert calls(table.snapshot(ns()), "a") == pytest.approx(5)
    later = round(300 * math.log(2))
    assert calls(table.snapshot(ns(later)), "a") == pytest.approx(1 + 4 / 2, rel=1e-3)


def test_replica_not_heard_of_is_expected_as_busy_as_its_pool() -> None:
    """Reports of one replica forecast the foreign load of another of its pool, and of no other pool's."""
    table = a_table({"a": holding(CARD), "b": holding(CARD), "far": holding(CARD, pool="far")})
    for seq in range(100):
        answered(table, "a", report=a_report("a", seq=seq, queued=3, in_service=1))

    snapshot = table.snapshot(ns())

    assert calls(snapshot, "b") == pytest.approx(4.0, rel=0.01)
    assert calls(snapshot, "far") == 0.0


def test_refusal_without_a_report_means_full() -> None:
    """A replica that refused without saying more is believed to have every slot taken."""
    table = a_table({"a": holding(CARD, slots=3)})
    answered(table, "a", outcome=Outcome.REFUSED)

    assert calls(table.snapshot(ns()), "a") == 3


def test_beliefs_survive_a_change_of_the_pool() -> None:
    """Replicas that stay keep queue, speed and ejections; a new one starts at the cohort's middle."""
    table = a_table({name: holding(CARD) for name in "abc"})
    learned(table, {"a": 20.0, "b": 40.0, "c": 60.0})
    answered(table, "b", report=a_report("b", seq=99, service_ms=40.0, queued=2))
    table.sent(a_decision("b", CARD), rows=1, now_ns=ns())
    table.unreachable("c", now_ns=ns())
    before = table.snapshot(ns())

    table.replicas_updated("pool", [(name, holding(CARD)) for name in ("new", "c", "b")], now_ns=ns())
    snapshot = table.snapshot(ns())

    assert snapshot.placement.replicas == ("b", "c", "new")
    assert calls(snapshot, "b") == pytest.approx(3)
    for name in "bc":
        assert service_ms(snapshot, name) == pytest.approx(service_ms(before, name))
    assert service_ms(snapshot, "new") == pytest.approx(service_ms(before, "b"), rel=0.1)
    assert list(snapshot.ejections) == [snapshot.placement.index["c"]]


def test_newcomer_is_spared_while_it_warms_up() -> None:
    """A replica that joins others ranks behind them at first; those that a pool started with do not."""
    table = a_table({"a": holding(CARD)})
    table.replicas_updated("pool", [(name, holding(CARD)) for name in ("a", "new")], now_ns=ns(1000))

    ranks = [
        [standing(table.snapshot(ns(ms)), name).rank for name in ("a", "new")] for ms in (1000, 2000, 3000)
    ]

    assert ranks == [[1.0, 5.0], [1.0, 2.0], [1.0, 1.0]]
    assert standing(table.snapshot(ns(1000)), "new").slowdown == 1.0


def ejected(table: LoadTable, at_ms: int) -> bool:
    """Whether replica `a` is out of the choice by then."""
    snapshot, now_ns = table.snapshot(ns(at_ms)), ns(at_ms)
    ejection = snapshot.ejections.get(snapshot.placement.index["a"])
    return ejection is not None and now_ns < ejection.until_ns


def test_replica_comes_back_by_one_probe() -> None:
    """After an ejection the first call keeps all others out until it has succeeded."""
    table = a_table({name: holding(CARD) for name in "abc"})
    for _ in range(4):
        answered(table, "a", outcome=Outcome.FAILED)
    assert ejected(table, 999)
    assert not ejected(table, 1000)

    probe = table.sent(a_decision("a", CARD), rows=1, now_ns=ns(1000))
    assert ejected(table, 1001)
    table.finished(probe, outcome=Outcome.OK, elapsed_ms=9.0, now_ns=ns(1009), report=a_report("a"))
    assert not ejected(table, 1009)


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.CANCELLED])
def test_probe_that_ended_without_a_verdict_lets_the_next_one_try(outcome: Outcome) -> None:
    """A probe that was refused or withdrawn says nothing of the replica."""
    table = a_table({name: holding(CARD) for name in "abc"})
    for _ in range(4):
        answered(table, "a", outcome=Outcome.FAILED)
    answered(table, "a", at_ms=1000, outcome=outcome)

    assert not ejected(table, 1000)


def test_probe_that_fails_ejects_for_twice_as_long() -> None:
    """One bad call is enough while the replica is on trial."""
    table = a_table({name: holding(CARD) for name in "abc"})
    for _ in range(4):
        answered(table, "a", outcome=Outcome.FAILED)
    answered(table, "a", at_ms=1000, outcome=Outcome.FAILED)

    assert ejected(table, 2999)
    assert not ejected(table, 3000)


def test_pools_are_updated_apart() -> None:
    """Saying what one pool has leaves the others alone; an emptied pool has no replicas."""
    table = a_table({"a": holding(CARD, pool="near"), "b": holding(CARD, pool="far")})
    table.replicas_updated("near", [], now_ns=ns())

    assert table.replicas("near") == ()
    assert table.replicas("far") == ("b",)


def test_snapshot_does_not_change() -> None:
    """A decision in progress keeps the beliefs it began with."""
    table = a_table({"a": holding(CARD)})
    before = table.snapshot(ns())

    def seen() -> list[object]:
        return [
            list(before.standings),
            list(before.ranks),
            [size.tolist() for size in before.service_ms],
            [[depth.tolist() for depth in size] for size in before.tail],
            list(before.spread((0, 0, 0)).ordered),
            dict(before.hop_ms),
            dict(before.ejections),
        ]

    kept = seen()
    for seq in range(5):
        report = a_report("a", seq=seq, service_ms=80.0, queued=3)
        answered(table, "a", at_ms=seq, elapsed_ms=90.0, report=report)
    table.unreachable("a", now_ns=ns(5))
    table.snapshot(ns(5000))

    assert seen() == kept
    assert table.snapshot(ns(5000)) is table.snapshot(ns(5000)) is not before


def test_two_threads_lose_no_count() -> None:
    """Serve's router thread and the caller's own may write at once."""
    table = a_table({"a": holding(CARD), "b": holding(CARD)}, LoadConfig(forecast=False))

    def work(replica: str) -> None:
        for seq in range(300):
            answered(table, replica, report=a_report(replica, seq=seq))
            pool = [(name, holding(CARD)) for name in ("a", "b", f"{replica}{seq % 3}")]
            table.replicas_updated("pool", pool, now_ns=ns(seq))
            table.snapshot(ns(seq))

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(work, ["a", "b"]))

    snapshot = table.snapshot(ns())
    assert [calls(snapshot, name) for name in ("a", "b")] == [0.0, 0.0]
