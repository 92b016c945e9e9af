"""What a second call is worth when single calls stall: the time that one request in a thousand exceeds.

Virtual time, the shipped engine, load table and hedging rules (`benchmarks/queueing`). A call in two hundred
takes 50 to 100 times its service time, and a second call of the same request would not. A request without an
answer by its deadline counts with the time to its deadline, which is less than it would have taken.

Beside it, as `real_*`, the p99 on two real ONNX replicas (`benchmarks/callers/real_runs.py`) of which one
stands still for moments, in turns without second calls and with them. Reported, not judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

import numpy as np

from benchmarks.callers import real_runs
from benchmarks.callers.player import Due, Played
from benchmarks.harness import Benchmark, Report, percentile
from benchmarks.queueing.hub import HedgingHub, Hub
from benchmarks.queueing.policies import MakePolicy
from benchmarks.queueing.runs import Run
from benchmarks.queueing.simulation import simulate
from benchmarks.queueing.traces import STALL_BUDGET_MS, Trace, stalling

REQUESTS: Final = 121_000
LOAD: Final = 0.4
CV: Final = 0.5
ROUTERS: Final = 2
REAL_LOAD: Final = 0.4
REAL_BUDGET_MS: Final = 300.0
STILL_S, EVERY_S = 0.4, 4.0
_ROUNDS: Final = 2
_ROUND_S: Final = 12.0
_SHARE: Final = 99.9


def run(report: Report) -> None:
    """The same requests without hedging, with it, and without it again; then real ones."""
    trace = stalling(load=LOAD, cv=CV, seed=1, requests=REQUESTS)
    without, with_it = _served(trace, Hub), _served(trace, HedgingHub)
    again = _served(trace, Hub, seed=1)
    ratio, aa = p999_ms(with_it) / p999_ms(without), p999_ms(again) / p999_ms(without) - 1.0
    report.add("p999_ratio", ratio, f"p99.9 with hedging over without, {len(without.hedged):,} requests")
    report.add("extra_calls", float(with_it.hedged.mean()), "second calls per request")
    report.add("aa_spread", abs(aa), "share, without hedging against itself")
    for name, result in (("with", with_it), ("without", without)):
        report.add(f"p999_ms_{name}", p999_ms(result), f"ms, p99.9 {name} hedging")
        report.add(f"p99_ms_{name}", percentile(waited_ms(result), 99), f"ms, p99 {name} hedging")
        report.add(f"missed_{name}", float((~result.answered).mean()), "share without an answer in time")
    _real(report)


def p999_ms(result: Run) -> float:
    """What one request in a thousand exceeds."""
    return percentile(waited_ms(result), _SHARE)


def waited_ms(result: Run) -> list[float]:
    """The time to the answer, or to the deadline if there was none."""
    waited: list[float] = np.nan_to_num(result.completion_ms, nan=STALL_BUDGET_MS).tolist()
    return waited


def _served(trace: Trace, make: MakePolicy, *, seed: int = 0) -> Run:
    return simulate(trace, make, routers=ROUTERS, seed=seed)


def _real(report: Report) -> None:
    played: dict[bool, list[Played]] = {False: [], True: []}
    with real_runs.real_pool() as pool:
        dues = _real_dues(pool.capacity_per_s())
        with real_runs.standing_still(pool.pid(), for_s=STILL_S, every_s=EVERY_S):
            for hedged in (False, True) * _ROUNDS:
                pool.hedging(allowed=hedged)
                played[hedged] += pool.play(dues)
    for name, calls in (("with", played[True]), ("without", played[False])):
        missed = sum(not call.met for call in calls) / len(calls)
        report.add(f"real_p99_ms_{name}", percentile(real_waited_ms(calls), 99), f"ms, {len(calls)} calls")
        report.add(f"real_missed_{name}", missed, "share without an answer in time")
    extra = sum(call.hedged for call in played[True]) / len(played[True])
    report.add("real_extra_calls", extra, "share of requests that were answered with a second call out")
    lag_ms = real_runs.lag_p99_ms([*played[True], *played[False]])
    report.add("real_lag_p99_ms", lag_ms, "ms, how late calls were made, p99")


def real_waited_ms(played: Sequence[Played]) -> list[float]:
    """The time to the answer of each call, or to its deadline if there was none in time."""
    return [call.elapsed_ms if call.met else call.due.budget_ms for call in played]


def _real_dues(capacity_per_s: float) -> list[Due]:
    due_s = real_runs.arrivals(Random(1), [REAL_LOAD * capacity_per_s], step_s=_ROUND_S)
    return [Due(at_s, REAL_BUDGET_MS) for at_s in due_s]


BENCHMARK: Final = Benchmark(
    name="hedge",
    question="How much shorter is the p99.9 with hedging where calls stall, and for how many extra calls?",
    run=run,
    timed=False,
)
