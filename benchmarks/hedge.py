"""What a second call is worth when single calls stall: the time that one request in a thousand exceeds.

Virtual time, the shipped engine, load table and hedging rules (`benchmarks/queueing`). A call in two hundred
takes 50 to 100 times its service time, and a second call of the same request would not. A request without an
answer by its deadline counts with the time to its deadline, which is less than it would have taken.
"""

from __future__ import annotations

from typing import Final

import numpy as np

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
_SHARE: Final = 99.9


def run(report: Report) -> None:
    """The same requests without hedging, with it, and without it again."""
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


def p999_ms(result: Run) -> float:
    """What one request in a thousand exceeds."""
    return percentile(waited_ms(result), _SHARE)


def waited_ms(result: Run) -> list[float]:
    """The time to the answer, or to the deadline if there was none."""
    waited: list[float] = np.nan_to_num(result.completion_ms, nan=STALL_BUDGET_MS).tolist()
    return waited


def _served(trace: Trace, make: MakePolicy, *, seed: int = 0) -> Run:
    return simulate(trace, make, routers=ROUTERS, seed=seed)


BENCHMARK: Final = Benchmark(
    name="hedge",
    question="How much shorter is the p99.9 with hedging where calls stall, and for how many extra calls?",
    run=run,
    timed=False,
)
