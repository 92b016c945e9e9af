"""What is drawn for real runs and made of them. Nothing here starts Ray or measures time."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import numpy as np
import pytest

from benchmarks.calibration import Tenth, calibration_error, error_by_chance, real_promises
from benchmarks.callers.player import OK, Due, Played
from benchmarks.callers.real_runs import AMPLE_MS, arrivals, standing_still
from benchmarks.hedge import real_waited_ms
from benchmarks.overload import ONNX_DEADLINE_MS, ONNX_SECONDS, ONNX_WARM_UP_S, onnx_dues, onnx_tally
from benchmarks.selection import mean_ms
from models.request import Priority

CRITICAL, BULK = Priority.CRITICAL, Priority.BULK
AT_ONCE = Due(0.0, 100.0)


def played(elapsed_ms: float, *, due: Due = AT_ONCE, outcome: str = OK, p_meet: float = 0.9) -> Played:
    """A call that ended so."""
    return Played(due, outcome, elapsed_ms, late_ms=0.0, p_meet=p_meet)


def test_arrivals_follow_the_rate_of_their_step() -> None:
    """In order, and within the time of all steps."""
    due_s = list(arrivals(Random(1), [100.0, 1000.0], step_s=10.0))
    first = sum(at_s < 10.0 for at_s in due_s)

    assert due_s == sorted(due_s)
    assert due_s[-1] < 20.0
    assert first == pytest.approx(1_000, rel=0.15)
    assert len(due_s) - first == pytest.approx(10_000, rel=0.05)


@pytest.mark.parametrize(
    ("elapsed_ms", "outcome", "met"), [(100.0, OK, True), (100.1, OK, False), (1.0, "shed", False)]
)
def test_a_call_is_met_by_an_answer_in_time(elapsed_ms: float, outcome: str, *, met: bool) -> None:
    """And by nothing else."""
    assert played(elapsed_ms, outcome=outcome).met is met


def test_only_promises_with_a_deadline_that_could_be_missed_count() -> None:
    """Not those of calls with ample time, nor of calls for which nothing was decided."""
    ample = played(9.0, due=Due(0.0, AMPLE_MS), p_meet=1.0)
    refused = played(1.0, outcome="shed", p_meet=float("nan"))

    promises = real_promises([played(9.0, p_meet=0.8), ample, refused, played(200.0, p_meet=0.3)])

    assert promises.p_meet.tolist() == [0.8, 0.3]
    assert promises.met.tolist() == [True, False]


def test_right_promises_are_off_by_chance_as_far_as_is_said() -> None:
    """On average over many draws of the same few requests."""
    rng, asked = np.random.default_rng(1), [(200, 0.3), (400, 0.9)]
    draws = [[Tenth(n, p, rng.binomial(n, p) / n) for n, p in asked] for _ in range(2_000)]
    expected = error_by_chance([Tenth(n, p, p) for n, p in asked])

    assert np.mean([calibration_error(tenths) for tenths in draws]) == pytest.approx(expected, rel=0.05)


def test_a_call_that_was_not_answered_in_time_waited_for_its_deadline() -> None:
    """However early or late it ended."""
    assert real_waited_ms([played(30.0), played(150.0), played(5.0, outcome="lost")]) == [30.0, 100.0, 100.0]


def test_the_mean_is_of_answers() -> None:
    """Errors have no completion."""
    assert mean_ms([played(30.0), played(50.0), played(5.0, outcome="lost")]) == 40.0


def test_overload_offers_both_classes_and_counts_after_the_warm_up() -> None:
    """A fifth of the requests is critical, and has the shorter deadline."""
    dues = onnx_dues(2.0, 500.0)
    counted = [due for due in dues if due.at_s >= ONNX_WARM_UP_S]
    critical = [due for due in counted if due.priority is CRITICAL]
    tally = onnx_tally([played(1.0, due=due) for due in dues])

    assert len(counted) == pytest.approx(1_000 * ONNX_SECONDS, rel=0.05)
    assert len(critical) == pytest.approx(len(counted) / 5, rel=0.1)
    assert all(due.budget_ms == ONNX_DEADLINE_MS[due.priority] for due in dues)
    assert tally.goodput_per_s == len(counted) / ONNX_SECONDS


def test_overload_tells_late_answers_from_refusals() -> None:
    """By the code of the error."""
    due = Due(ONNX_WARM_UP_S, 100.0, BULK)
    ends = [played(1.0, due=due), played(101.0, due=due), played(1.0, due=due, outcome="shed")]

    assert onnx_tally(ends).ended == {"bulk": {"met": 1, "late": 1, "shed": 1}}


def test_a_process_stands_still_for_moments_and_runs_afterwards() -> None:
    """It is seen stopped within the block, and not after it."""
    with sleeper() as pid:
        with standing_still(pid, for_s=0.05, every_s=0.1):
            until_state(pid, "T")
        until_state(pid, "S")


@contextmanager
def sleeper() -> Iterator[int]:
    """A process that does nothing; its id."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def until_state(pid: int, wanted: str, *, seconds: float = 10.0) -> None:
    """Return once the system says so of the process."""
    end_s = time.monotonic() + seconds
    while (state := Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]) != wanted:
        assert time.monotonic() < end_s, f"the process was in state {state}"
        time.sleep(0.005)
