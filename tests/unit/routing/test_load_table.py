"""What a process believes of replicas: counting, hearing, learning, fading, sharing."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import pytest

from routing.load import LoadConfig, LoadTable, Outcome
from routing.placement import UNKNOWN_SERVICE_MS
from tests.support.cards import a_card
from tests.unit.routing.beliefs import CARD, answered, calls, ns, service_ms, standing, tail
from tests.unit.routing.worlds import a_decision, a_report, a_table, holding


def learned(table: LoadTable, took_ms: dict[str, float], *, times: int = 60, at_ms: int = 0) -> None:
    """Let each replica answer so many times, in turn, with its own service time."""
    for seq in range(times):
        for replica, service in took_ms.items():
            report = a_report(replica, seq=at_ms + seq, service_ms=service)
            answered(table, replica, at_ms=at_ms, elapsed_ms=service + 2.0, report=report)


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


def test_unknown_speed_is_the_warm_profile() -> None:
    """Before anything is measured a replica is as fast as the warm profile says, never infinitely fast."""
    table = a_table({"a": holding(CARD)})

    assert service_ms(table.snapshot(ns()), "a") == 10.0


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
