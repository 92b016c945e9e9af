"""The simulator of pools against what queueing theory knows, and the peers it compares with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from math import inf
from random import Random
from typing import Any

import numpy as np
import pytest

from benchmarks.queueing.delay import ShortestExpectedDelay
from benchmarks.queueing.hub import Hub
from benchmarks.queueing.policies import Choice, Ended, LeastQueue, MakePolicy, Oracle, PowerOfTwo
from benchmarks.queueing.pool import Pool
from benchmarks.queueing.runs import WARM_UP, Run
from benchmarks.queueing.simulation import TIMER_MS, simulate
from benchmarks.queueing.traces import (
    SCENARIOS,
    Shift,
    Trace,
    homogeneous,
    moving_antagonist,
    slow_two_of_eight,
    trace_of,
)
from routing.load import Outcome

ALIKE = pytest.mark.parametrize(
    "make", [Oracle, PowerOfTwo, LeastQueue, ShortestExpectedDelay, Hub], ids=lambda make: make.__name__
)


class FirstReplica:
    """Sends everything to replica 0 and keeps what it is told."""

    def __init__(self, pool: Pool, rng: Random) -> None:
        self.pool = pool
        self.ended: list[Ended] = []

    def choose(self, *, budget_ms: float, now_ms: float) -> Choice:
        return Choice(0)

    def sent(self, choice: Choice, *, now_ms: float) -> Any:
        return None

    def finished(self, flight: Any, ended: Ended, *, now_ms: float) -> None:
        self.ended.append(ended)


class Hedger(FirstReplica):
    """Sends a second call to replica 1 if the first is still out after 30 ms."""

    def look_after_ms(self, choice: Choice, *, now_ms: float) -> float | None:
        return 30.0 - TIMER_MS

    def look_again_ms(self, choice: Choice, *, elapsed_ms: float) -> float | None:
        return None

    def second(self, choice: Choice, *, elapsed_ms: float, budget_ms: float, now_ms: float) -> Choice | None:
        return Choice(1)


def by_hand(
    arrived_ms: Sequence[float], draws: Sequence[float], *, slots: int = 1, budget_ms: float = inf
) -> Trace:
    """Requests at these moments for one replica; a draw of 1 takes 10 ms, and the way 1 ms each."""
    count = len(arrived_ms)
    return Trace(
        slots=(slots,),
        shifts=(Shift(0.0, (1.0,)),),
        arrived_ms=arrived_ms,
        draws=draws,
        lots=[0.0] * count,
        budgets_ms=[budget_ms] * count,
        hop_ms=1.0,
    )


def told(trace: Trace, policy: type[FirstReplica] = FirstReplica) -> list[Ended]:
    """What the only router hears, in this order. Leaves no call behind."""
    routers: list[FirstReplica] = []

    def make(pool: Pool, rng: Random) -> FirstReplica:
        routers.append(policy(pool, rng))
        return routers[0]

    simulate(trace, make)
    assert all(replica.assigned == 0 and replica.busy == 0 for replica in routers[0].pool.replicas)
    return routers[0].ended


def test_two_slots_with_one_queue_wait_as_theory_says() -> None:
    """M/M/2: the mean time in the system is s / (1 - load^2)."""
    trace = trace_of([Shift(0.0, (1.0,))], levels=[0.7], cv=1.0, seed=1, requests=100_000, slots=[2])

    mean_ms = simulate(trace, FirstReplica).mean_ms

    assert mean_ms == pytest.approx(10.0 / (1 - 0.7**2) + 1.0, rel=0.05)


def test_a_call_waits_for_a_slot_and_says_how_long() -> None:
    """The second of two calls at once starts when the first ends."""
    first, second = told(by_hand([0.0, 0.0], [1.0, 1.0]))

    assert (first.elapsed_ms, second.elapsed_ms) == (12.0, 22.0)
    assert first.report is not None
    assert second.report is not None
    assert (first.report.queue_ms, second.report.queue_ms) == (0.0, 10.0)
    assert (first.report.service_ms, second.report.service_ms) == (10.0, 10.0)


def test_a_report_counts_the_calls_that_are_left() -> None:
    """Three calls at once on one slot: when the first ends, the second has taken it and the third waits."""
    reports = [ended.report for ended in told(by_hand([0.0] * 3, [1.0] * 3))]

    assert [(report.in_service, report.queued) for report in reports if report] == [(1, 1), (1, 0), (0, 0)]
    assert [report.seq for report in reports if report] == [1, 2, 3]


def test_at_the_deadline_a_waiting_call_is_withdrawn_and_a_running_one_keeps_its_slot() -> None:
    """The first call runs 50 ms and misses its deadline, so does the second, which then never starts."""
    first, second, third = told(by_hand([0.0, 1.0, 48.0], [5.0, 1.0, 1.0], budget_ms=30.0))

    assert (first.outcome, second.outcome) == (Outcome.TIMEOUT, Outcome.TIMEOUT)
    assert (first.elapsed_ms, second.elapsed_ms) == (30.0, 30.0)
    assert (third.outcome, third.elapsed_ms) == (Outcome.OK, 14.0)


def stalled(*, second_stalls: bool, budget_ms: float = inf) -> Trace:
    """Two replicas; the first call stalls to a hundred times its 10 ms, another request comes at 2 ms."""
    return replace(
        by_hand([0.0, 2.0], [1.0, 1.0], budget_ms=budget_ms),
        slots=(1, 1),
        shifts=(Shift(0.0, (1.0, 1.0)),),
        stalls=([100.0, 1.0], [100.0 if second_stalls else 1.0, 1.0]),
    )


def test_a_second_call_answers_and_the_first_is_cancelled() -> None:
    """Sent after 30 ms, it takes 12; the other request waits behind the stalled one, and gets its own."""
    ended = told(stalled(second_stalls=False), Hedger)

    assert [(call.replica, call.outcome, call.elapsed_ms) for call in ended] == [
        (1, Outcome.OK, 12.0),
        (0, Outcome.CANCELLED, 42.0),
        (1, Outcome.OK, 20.0),
        (0, Outcome.CANCELLED, 50.0),
    ]


def test_a_run_tells_how_long_requests_took_and_which_were_hedged() -> None:
    """From the first call to the first answer."""
    trace = stalled(second_stalls=False)
    filler = WARM_UP * [0.0]
    late = replace(
        trace,
        arrived_ms=[*np.arange(WARM_UP) * 100.0, 100_000.0],
        draws=[*filler, 1.0],
        lots=[*filler, 0.0],
        budgets_ms=[inf] * (WARM_UP + 1),
        stalls=([*filler, 100.0], [*filler, 1.0]),
    )

    run = simulate(late, Hedger)

    assert run.completion_ms.tolist() == [42.0]
    assert run.hedged.tolist() == [True]


def test_at_the_deadline_both_calls_are_given_up() -> None:
    """Neither speaks again after that."""
    first, second = told(stalled(second_stalls=True, budget_ms=45.0), Hedger)[:2]

    assert (first.outcome, first.elapsed_ms) == (Outcome.TIMEOUT, 15.0)
    assert (second.outcome, second.elapsed_ms) == (Outcome.TIMEOUT, 45.0)


def test_an_antagonist_slows_calls_that_start_while_it_is_there() -> None:
    """One call before and one after the replica became five times slower."""
    calm = by_hand([0.0, 100.0], [1.0, 1.0])
    first, second = told(replace(calm, shifts=(*calm.shifts, Shift(50.0, (5.0,)))))

    assert (first.elapsed_ms, second.elapsed_ms) == (12.0, 52.0)


@ALIKE
def test_every_request_is_answered_and_the_same_run_gives_the_same(make: MakePolicy) -> None:
    """Same trace and seed, same completions; another seed, others."""
    trace = slow_two_of_eight(load=0.6, cv=1.0, seed=3, requests=WARM_UP + 500)
    run, again, other = (simulate(trace, make, routers=2, seed=seed) for seed in (1, 1, 2))

    assert run.answered.all()
    assert run.refused == 0
    assert np.array_equal(run.completion_ms, again.completion_ms)
    assert not np.array_equal(run.completion_ms, other.completion_ms)


@ALIKE
def test_nobody_beats_the_oracle(make: MakePolicy) -> None:
    """On the same requests, by the mean; and all of the oracle's choices are the best."""
    trace = slow_two_of_eight(load=0.8, cv=1.0, seed=4, requests=WARM_UP + 3000)
    oracle = simulate(trace, Oracle)

    assert simulate(trace, make, routers=8, seed=1).mean_ms > 0.98 * oracle.mean_ms
    assert oracle.near_best.all()


def test_requests_are_spread_over_the_routers() -> None:
    """Each router gets its share, and hears of its own calls only."""
    routers: list[FirstReplica] = []

    def make(pool: Pool, rng: Random) -> FirstReplica:
        routers.append(FirstReplica(pool, rng))
        return routers[-1]

    simulate(homogeneous(load=0.05, cv=0.5, seed=1, requests=WARM_UP + 1000), make, routers=4)

    heard = [len(router.ended) for router in routers]
    assert sum(heard) == WARM_UP + 1000
    assert min(heard) > 400


def test_slow_choices_are_told_from_others() -> None:
    """Whoever sends everything to the first replica, which is slow, sends nothing anywhere else."""
    trace = slow_two_of_eight(load=0.02, cv=1.0, seed=1, requests=WARM_UP + 100)

    run = simulate(trace, FirstReplica)

    assert run.slow.all()
    assert not run.near_best.any()


def test_the_load_is_a_share_of_what_all_replicas_can_do() -> None:
    """Six usual replicas with two slots of 10 ms do 1.2 calls per ms, two slow ones 0.08."""
    trace = slow_two_of_eight(load=0.5, cv=1.0, seed=1, requests=50_000)

    assert len(trace) / trace.arrived_ms[-1] == pytest.approx(0.5 * 1.28, rel=0.02)


@pytest.mark.parametrize("cv", [0.5, 1.0])
def test_draws_have_the_mean_and_the_variation_asked_for(cv: float) -> None:
    """Mean 1, standard deviation `cv`."""
    draws = homogeneous(load=0.5, cv=cv, seed=1, requests=50_000).draws

    assert np.mean(draws) == pytest.approx(1.0, rel=0.02)
    assert np.std(draws) == pytest.approx(cv, rel=0.03)


def test_a_level_holds_for_its_time() -> None:
    """Of two levels that take turns, one with four times the load gets four fifths of the requests."""
    trace = trace_of(
        [Shift(0.0, (1.0,))], levels=[0.2, 0.8], level_ms=100.0, cv=1.0, seed=1, requests=50_000, slots=[2]
    )

    at_high = Counter(int(at_ms / 100.0) % 2 for at_ms in trace.arrived_ms)[1]
    assert at_high / len(trace) == pytest.approx(0.8, abs=0.01)


def test_the_antagonist_slows_one_replica_at_a_time() -> None:
    """For half a second each."""
    shifts = moving_antagonist(Random(1), until_ms=10_000.0)

    assert [shift.at_ms for shift in shifts] == [500.0 * turn for turn in range(21)]
    assert {sum(shift.factors) for shift in shifts} == {7 + 5.0}
    assert len({shift.factors for shift in shifts}) > 3


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_is_the_same_every_time(name: str) -> None:
    """Same arguments, same trace; its changes of speed last as long as its requests."""
    draw = SCENARIOS[name]
    one, other = (draw(load=0.6, cv=1.0, seed=2, requests=5000) for _ in range(2))

    assert list(one.arrived_ms) == list(other.arrived_ms)
    assert (one.draws, one.lots, one.shifts) == (other.draws, other.lots, other.shifts)
    if len(one.shifts) > 1:
        assert one.shifts[-1].at_ms > one.arrived_ms[-1]


def test_figures_of_a_run_leave_out_what_was_not_answered() -> None:
    """Two answers, one missed deadline and one refusal."""
    nan = float("nan")
    flags = np.zeros(4, dtype=bool)
    run = Run(np.array([10.0, 30.0, nan, nan]), flags, flags, np.array([0.9, 0.9, 0.9, nan]), flags)

    assert run.mean_ms == 20.0
    assert run.percentile_ms(50) == 20.0
    assert run.answered.tolist() == [True, True, False, False]
    assert run.refused == 1
