"""What a process believes of replicas: counting, hearing, fading, sharing; and what teaches it nothing."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from models.card import ModelCard
from models.forecast import LoadReport
from routing.load import LoadSnapshot, LoadTable, Outcome
from routing.placement import UNKNOWN_SERVICE_MS
from routing.queues import ReportOrder
from tests.support.cards import a_card
from tests.unit.routing.worlds import START_MS, a_decision, a_report, a_table, holding

CARD = a_card(warm_ms=10.0)


def ns(later_ms: int = 0) -> int:
    """Wall time, so many milliseconds after the start."""
    return (START_MS + later_ms) * 1_000_000


def answered(
    table: LoadTable,
    replica: str,
    *,
    at_ms: int = 0,
    elapsed_ms: float = 12.0,
    outcome: Outcome = Outcome.OK,
    report: LoadReport | None = None,
    card: ModelCard = CARD,
) -> None:
    """Send one call and end it at once."""
    flight = table.sent(a_decision(replica, card, expected_ms=12.0), rows=1)
    table.finished(flight, outcome=outcome, elapsed_ms=elapsed_ms, now_ns=ns(at_ms), report=report)


def service_ms(snapshot: LoadSnapshot, replica: str, card: ModelCard = CARD) -> float:
    """Believed service time of a small call."""
    return float(snapshot.service_ms[0, snapshot.placement.cells[replica, str(card.key)]])


def calls(snapshot: LoadSnapshot, replica: str) -> float:
    """Believed calls queued or running."""
    return float(snapshot.calls[snapshot.placement.index[replica]])


def test_own_calls_are_counted_until_they_end() -> None:
    """A send adds one call to the replica and its end takes it away, once, however often it is reported."""
    table = a_table({"a": holding(CARD)})
    flights = [table.sent(a_decision("a", CARD), rows=1) for _ in range(3)]

    assert calls(table.snapshot(ns()), "a") == 3
    for _ in range(2):
        table.finished(flights[0], outcome=Outcome.CANCELLED, elapsed_ms=1.0, now_ns=ns())
    assert calls(table.snapshot(ns()), "a") == 2


def test_queue_delays_by_what_does_not_fit_the_slots() -> None:
    """Two slots and three calls ahead: the next one takes twice the service time."""
    table = a_table({"a": holding(CARD, slots=2)})
    for _ in range(3):
        table.sent(a_decision("a", CARD), rows=1)

    assert table.snapshot(ns()).delay.tolist() == [2.0]


def test_foreign_calls_are_heard_and_fade() -> None:
    """What a report counts beyond our own calls is believed, and halves every tau x ln 2."""
    table = a_table({"a": holding(CARD)})
    table.sent(a_decision("a", CARD), rows=1)
    answered(table, "a", report=a_report("a", queued=4, in_service=1))

    assert calls(table.snapshot(ns()), "a") == pytest.approx(5)
    later = round(1000 * math.log(2))
    assert calls(table.snapshot(ns(later)), "a") == pytest.approx(1 + 4 / 2, rel=1e-3)


def test_reports_count_only_forwards() -> None:
    """A reordered report, or one of a former boot, changes nothing; a new boot counts from its first."""
    order = ReportOrder()

    assert order.accepts("first", 5)
    assert not order.accepts("first", 4)
    assert not order.accepts("first", 5)
    assert order.accepts("second", 1)
    assert not order.accepts("first", 6)
    assert order.accepts("second", 2)


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


def test_unmeasured_replica_is_as_fast_as_the_median_of_its_group() -> None:
    """What is learned of some replicas of a pool and hardware is believed of the rest, and of no others."""
    table = a_table(
        {name: holding(CARD) for name in "abcd"}
        | {"gpu": holding(CARD, hardware="gpu"), "far": holding(CARD, pool="far")}
    )
    for replica, took_ms in (("a", 20.0), ("b", 30.0), ("c", 70.0)):
        answered(table, replica, report=a_report(replica, service_ms=took_ms))

    snapshot = table.snapshot(ns())

    assert [service_ms(snapshot, name) for name in ("a", "b", "c", "d")] == [20.0, 30.0, 70.0, 30.0]
    assert [service_ms(snapshot, name) for name in ("gpu", "far")] == [10.0, 10.0]


@pytest.mark.parametrize(("age_ms", "left"), [(0, 1.0), (1000, math.exp(-1)), (20_000, 0.0)])
def test_stale_speed_relaxes_to_the_median(age_ms: int, left: float) -> None:
    """A value seen `age` ago counts m + (v - m) exp(-age / 1 s): a replica slow once is tried again."""
    table = a_table({name: holding(CARD) for name in "abc"})
    for replica, took_ms in (("a", 110.0), ("b", 10.0), ("c", 10.0)):
        answered(table, replica, report=a_report(replica, service_ms=took_ms))

    assert service_ms(table.snapshot(ns(age_ms)), "a") == pytest.approx(10 + 100 * left, abs=1e-3)


def test_median_relaxes_to_the_warm_profile() -> None:
    """A pool that was slow everywhere and is asked no more is believed fast again within minutes."""
    table = a_table({"a": holding(CARD)})
    answered(table, "a", report=a_report("a", service_ms=5000.0))

    assert service_ms(table.snapshot(ns()), "a") == 5000.0
    assert service_ms(table.snapshot(ns(30_000)), "a") == pytest.approx(10 + 4990 * math.exp(-1), rel=1e-3)
    assert service_ms(table.snapshot(ns(600_000)), "a") == pytest.approx(10.0, rel=1e-3)


def test_failure_counts_as_a_call_that_took_all_of_its_deadline() -> None:
    """Failing fast makes a replica slow, not attractive, and speaks for nobody else."""
    table = a_table({"a": holding(CARD), "b": holding(CARD)})
    answered(table, "a", outcome=Outcome.FAILED, elapsed_ms=1.0)

    snapshot = table.snapshot(ns())

    assert service_ms(snapshot, "a") == 100.0  # the budget of `a_decision`
    assert service_ms(snapshot, "b") == 10.0


def test_promises_widen_with_what_was_missed() -> None:
    """After completions that took thrice the prediction the tail covers them, and fades to the warm one."""
    table = a_table({"a": holding(CARD)})
    before = float(table.snapshot(ns()).tail[0, 0])
    for seq in range(100):
        answered(table, "a", elapsed_ms=36.0, report=a_report("a", seq=seq))

    assert before < 2.0
    assert table.snapshot(ns()).tail[0, 0] == pytest.approx(3.0)
    assert table.snapshot(ns(600_000)).tail[0, 0] == pytest.approx(before, rel=1e-3)


def test_hop_is_learned_from_what_the_replica_did_not_account_for() -> None:
    """Elapsed less queue and service is the way there and back; it moves slowly from its first guess."""
    table = a_table({"a": holding(CARD)})
    for seq in range(100):
        answered(table, "a", elapsed_ms=20.0, report=a_report("a", seq=seq, service_ms=10.0, queue_ms=3.0))

    assert table.snapshot(ns()).hop_ms == pytest.approx(7.0, rel=1e-3)


@pytest.mark.parametrize(
    "absurd",
    [
        {"service_ms": math.nan},
        {"service_ms": -1.0},
        {"service_ms": 0.0},
        {"service_ms": 1e12},
        {"queued": -3, "service_ms": math.inf},
        {"slots": 0, "service_ms": math.nan},
    ],
)
def test_absurd_reports_teach_nothing(absurd: dict[str, Any]) -> None:
    """Impossible numbers leave every belief finite and as it was."""
    table = a_table({"a": holding(CARD)})
    answered(table, "a", report=a_report("a", **absurd))

    snapshot = table.snapshot(ns())

    assert service_ms(snapshot, "a") == 10.0
    assert np.isfinite(snapshot.delay).all()


def test_unknown_replicas_and_foreign_reports_are_ignored() -> None:
    """A call that ends on a replica no longer listed, or a report of another replica, changes nothing."""
    table = a_table({"a": holding(CARD)})
    answered(table, "gone", report=a_report("gone", service_ms=99.0))
    answered(table, "a", outcome=Outcome.CANCELLED, report=a_report("b", queued=9))
    table.unreachable("gone", now_ns=ns())

    snapshot = table.snapshot(ns())

    assert calls(snapshot, "a") == 0
    assert not snapshot.ejections


def test_clock_that_goes_back_harms_nothing() -> None:
    """Beliefs formed in the future count as formed just now, and go on fading from there."""
    table = a_table({"a": holding(CARD), "b": holding(CARD)})
    answered(table, "a", at_ms=60_000, report=a_report("a", service_ms=50.0))

    assert service_ms(table.snapshot(ns()), "a") == 50.0
    assert service_ms(table.snapshot(ns(1000)), "a") == pytest.approx(50.0, rel=0.05)


def test_beliefs_survive_a_change_of_the_pool() -> None:
    """Replicas that stay keep queue, speed and ejections; a new one starts at the group's median."""
    table = a_table({name: holding(CARD) for name in "abc"})
    answered(table, "b", report=a_report("b", service_ms=40.0, queued=2))
    answered(table, "c", report=a_report("c", service_ms=60.0))
    table.sent(a_decision("b", CARD), rows=1)
    table.unreachable("c", now_ns=ns())

    table.replicas_updated("pool", [(name, holding(CARD)) for name in ("new", "c", "b")])
    snapshot = table.snapshot(ns())

    assert snapshot.placement.replicas == ("b", "c", "new")
    assert calls(snapshot, "b") == pytest.approx(3)
    assert [service_ms(snapshot, name) for name in ("b", "c", "new")] == pytest.approx([40.0, 60.0, 50.0])
    assert list(snapshot.ejections) == [snapshot.placement.index["c"]]


def test_pools_are_updated_apart() -> None:
    """Saying what one pool has leaves the others alone; an emptied pool has no replicas."""
    table = a_table({"a": holding(CARD, pool="near"), "b": holding(CARD, pool="far")})
    table.replicas_updated("near", [])

    assert table.replicas("near") == ()
    assert table.replicas("far") == ("b",)


def test_snapshot_does_not_change() -> None:
    """A decision in progress keeps the beliefs it began with."""
    table = a_table({"a": holding(CARD)})
    before = table.snapshot(ns())

    def seen() -> list[object]:
        return [
            before.calls.tolist(),
            before.service_ms.tolist(),
            before.tail.tolist(),
            list(before.spreads[0][0].ordered),
        ]

    kept = seen()
    for seq in range(5):
        report = a_report("a", seq=seq, service_ms=80.0, queued=3)
        answered(table, "a", at_ms=seq, elapsed_ms=90.0, report=report)

    assert seen() == kept
    assert table.snapshot(ns(5)) is table.snapshot(ns(5)) is not before


def test_two_threads_lose_no_count() -> None:
    """Serve's router thread and the caller's own may write at once."""
    table = a_table({"a": holding(CARD), "b": holding(CARD)})

    def work(replica: str) -> None:
        for seq in range(300):
            answered(table, replica, report=a_report(replica, seq=seq))
            table.replicas_updated(
                "pool", [(name, holding(CARD)) for name in ("a", "b", f"{replica}{seq % 3}")]
            )
            table.snapshot(ns(seq))

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(work, ["a", "b"]))

    snapshot = table.snapshot(ns())
    assert [calls(snapshot, name) for name in ("a", "b")] == [0.0, 0.0]
