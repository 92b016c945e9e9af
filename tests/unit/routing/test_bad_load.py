"""Load news that must teach nothing: absurd, reordered, stale, of strangers, by clocks that jump."""

from __future__ import annotations

import math
from typing import Any

import pytest

from routing.load import LoadConfig, Outcome
from tests.unit.routing.beliefs import CARD, answered, calls, ns, service_ms, standing
from tests.unit.routing.worlds import a_decision, a_report, a_table, holding

HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    "absurd",
    [
        {"service_ms": math.nan},
        {"service_ms": -1.0},
        {"service_ms": 0.0},
        {"service_ms": 1e12},
        {"service_ms": math.inf},
        {"queued": -3, "service_ms": math.inf},
        {"queued": 5, "in_service": -9, "service_ms": math.nan},
        {"queued": 10**9, "service_ms": math.nan},
        {"queue_ms": math.nan, "service_ms": math.nan},
        {"slots": 0, "service_ms": math.nan},
        {"slots": 10**9, "service_ms": math.nan},
    ],
)
def test_absurd_reports_teach_nothing(absurd: dict[str, Any]) -> None:
    """Impossible numbers leave every belief finite and as it was."""
    table = a_table({"a": holding(CARD)})
    before = table.snapshot(ns())
    answered(table, "a", report=a_report("a", **absurd))

    snapshot = table.snapshot(ns())

    assert snapshot.standings == before.standings
    assert [size.tolist() for size in snapshot.service_ms] == [size.tolist() for size in before.service_ms]
    assert snapshot.hop_ms == before.hop_ms


@pytest.mark.parametrize("elapsed_ms", [math.nan, math.inf, -1.0, 1e12])
@pytest.mark.parametrize("outcome", [Outcome.OK, Outcome.FAILED])
def test_absurd_elapsed_time_teaches_nothing(elapsed_ms: float, outcome: Outcome) -> None:
    """What the caller's own broken clock measured is no measurement; the call has ended all the same."""
    table = a_table({"a": holding(CARD)})
    before = table.snapshot(ns())
    answered(table, "a", elapsed_ms=elapsed_ms, outcome=outcome, report=a_report("a", service_ms=50.0))

    snapshot = table.snapshot(ns())

    assert snapshot.standings == before.standings
    assert [size.tolist() for size in snapshot.service_ms] == [size.tolist() for size in before.service_ms]


@pytest.mark.parametrize("late", [{"seq": 4}, {"seq": 9, "boot": "former"}])
def test_late_report_does_not_move_the_queue(late: dict[str, Any]) -> None:
    """A report overtaken by a newer one, or of a former life of the replica, says nothing of its queue."""
    table = a_table({"a": holding(CARD)}, LoadConfig(forecast=False))
    answered(table, "a", report=a_report("a", seq=8, boot="former"))
    answered(table, "a", report=a_report("a", seq=5, queued=2))
    answered(table, "a", report=a_report("a", queued=50, **late))

    assert calls(table.snapshot(ns()), "a") == pytest.approx(2)


def test_unknown_replicas_and_foreign_reports_are_ignored() -> None:
    """A call that ends on a replica no longer listed, or a report of another replica, changes nothing."""
    table = a_table({"a": holding(CARD)})
    answered(table, "gone", report=a_report("gone", service_ms=99.0))
    answered(table, "a", outcome=Outcome.CANCELLED, report=a_report("b", queued=9))
    table.unreachable("gone", now_ns=ns())

    snapshot = table.snapshot(ns())

    assert calls(snapshot, "a") == 0
    assert not snapshot.ejections


def test_call_may_end_after_its_replica_and_model_are_gone() -> None:
    """Its end teaches nothing and harms nothing, whatever the pool holds by then."""
    table = a_table({"a": holding(CARD)})
    flight = table.sent(a_decision("a", CARD), rows=1, now_ns=ns())
    table.replicas_updated("pool", [], now_ns=ns(1))
    table.finished(flight, outcome=Outcome.OK, elapsed_ms=9.0, now_ns=ns(9), report=a_report("a"))

    assert table.snapshot(ns(9)).standings == []


@pytest.mark.parametrize("step_ms", [1000, HOUR_MS, 1000 * HOUR_MS])
def test_clock_that_goes_back_harms_nothing(step_ms: int) -> None:
    """Beliefs formed in the future count as formed just now: finite, and relearned by what is measured."""
    table = a_table({"a": holding(CARD), "b": holding(CARD)})
    answered(table, "a", at_ms=step_ms, report=a_report("a", seq=1, service_ms=50.0, queued=3))
    ahead = service_ms(table.snapshot(ns(step_ms)), "a")

    back = table.snapshot(ns())
    assert service_ms(back, "a") == pytest.approx(ahead, rel=0.1)
    assert calls(back, "a") == pytest.approx(3, rel=0.1)
    for seq in range(2, 60):
        answered(table, "a", report=a_report("a", seq=seq, service_ms=10.0))
    assert service_ms(table.snapshot(ns()), "a") == pytest.approx(10.0, rel=0.2)
    assert calls(table.snapshot(ns()), "a") == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("step_ms", [HOUR_MS, 1000 * HOUR_MS])
def test_clock_that_jumps_ahead_forgets_and_goes_on(step_ms: int) -> None:
    """After a jump of hours beliefs are those of the card, and learning goes on from there."""
    table = a_table({"a": holding(CARD), "b": holding(CARD)})
    for seq in range(20):
        answered(table, "a", report=a_report("a", seq=seq, service_ms=50.0, queued=3))

    after = table.snapshot(ns(step_ms))
    assert [service_ms(after, name) for name in "ab"] == pytest.approx([10.0, 10.0])
    assert standing(after, "a").calls == pytest.approx(0.0)
    for seq in range(20, 80):
        answered(table, "a", at_ms=step_ms, report=a_report("a", seq=seq, service_ms=50.0))
    assert service_ms(table.snapshot(ns(step_ms)), "a") > 35.0
