"""Whether promises are kept: of the requests that were promised p, how many were answered in time.

Virtual time, the shipped engine and load table (`benchmarks/queueing`). The load moves between 0.3 and 0.95
every second, one of eight replicas is five times slower and every half second it is another one; routers give
up at the deadline as `RoutedClient` does. Half of the requests have deadlines around the completion to be
expected, so that promises take every value; the others have ample ones, as in ordinary use, and count for
nothing here. The product refuses what it cannot promise with 0.95; here it must promise 0.05 only, and missed
deadlines eject nobody: otherwise there were no low promises to measure.

The same on the real ONNX models (`benchmarks/callers/real_runs.py`) stands beside it as `real_*`: about a
thousand promises, so `real_ece_by_chance` says how far perfect ones would be off. Reported, not judged.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from math import isnan, pi, sqrt
from random import Random
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.callers import real_runs
from benchmarks.callers.player import Due, Played
from benchmarks.harness import Benchmark, Report
from benchmarks.queueing.hub import Hub
from benchmarks.queueing.runs import Run
from benchmarks.queueing.simulation import simulate
from benchmarks.queueing.traces import (
    HIGHEST,
    HOP_MS,
    LOWEST,
    MEAN_MS,
    Trace,
    moving_antagonist,
    trace_of,
)
from routing.beliefs.gate import GateConfig
from routing.beliefs.speeds import SpeedConfig
from routing.load import LoadConfig

SEEDS: Final = 4
REQUESTS: Final = 40_000
CVS: Final = (0.5, 1.0)
ROUTERS: Final = (1, 4)
ENOUGH: Final = 10_000
"""Promises that a tenth must hold to count for `worst_excess`."""
AMPLE_MS: Final = 50 * MEAN_MS
_PROFILE: Final = "cost_optimized"
"""With one model a choice of the first to answer, too, but one that does not need time to spare."""
REAL_ENOUGH: Final = 50
"""Promises that a tenth of the real run must hold to be told."""
_REAL_S: Final = 45
_REAL_AMPLE: Final = 0.25
_TENTHS: Final = 10
_LEVELS: Final = 1000

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


class Tenth(NamedTuple):
    """The promises between two multiples of 0.1: how many, their mean, and the share that was kept."""

    n: int
    promised: float
    met: float

    @property
    def off(self) -> float:
        return abs(self.promised - self.met)

    @property
    def excess(self) -> float:
        """How far it is off beyond two standard errors; at least 0."""
        return max(0.0, self.off - 2.0 * sqrt(self.met * (1.0 - self.met) / self.n))


class Promises(NamedTuple):
    """What was promised and whether it was kept, one entry per request that was sent."""

    p_meet: Floats
    met: Bools

    def tenths(self) -> list[Tenth]:
        """The tenths that hold any promise, from low to high."""
        numbers = np.minimum((self.p_meet * _TENTHS).astype(int), _TENTHS - 1)
        return [self._tenth(numbers == number) for number in np.unique(numbers)]

    def _tenth(self, chosen: Bools) -> Tenth:
        return Tenth(int(chosen.sum()), float(self.p_meet[chosen].mean()), float(self.met[chosen].mean()))


def calibration_error(tenths: list[Tenth]) -> float:
    """Expected calibration error: how far the tenths are off, weighted by their promises."""
    return sum(tenth.off * tenth.n for tenth in tenths) / sum(tenth.n for tenth in tenths)


def worst_excess(tenths: list[Tenth]) -> float:
    """The most that a tenth with enough promises is off beyond two standard errors."""
    return max((tenth.excess for tenth in tenths if tenth.n >= ENOUGH), default=0.0)


def error_by_chance(tenths: list[Tenth]) -> float:
    """The calibration error that promises which are exactly right have on average with so few requests."""
    off = (tenth.n * sqrt(tenth.promised * (1.0 - tenth.promised) / tenth.n) for tenth in tenths)
    return sqrt(2.0 / pi) * sum(off) / sum(tenth.n for tenth in tenths)


def run(report: Report) -> None:
    """The table over all worlds, then the error of each world by itself, then the real run."""
    worlds: dict[tuple[float, int], list[Promises]] = {world: [] for world in product(CVS, ROUTERS)}
    refused = 0
    for seed in range(SEEDS):
        for (cv, routers), seen in worlds.items():
            trace = moving_load(cv=cv, seed=seed)
            result = simulate(
                trace, partial(Hub, config=_config(), profile=_PROFILE), routers=routers, seed=seed
            )
            seen.append(promises_of(trace, result))
            refused += result.refused
    tenths = _joined([promises for seen in worlds.values() for promises in seen]).tenths()
    _add_table(report, tenths)
    for (cv, routers), seen in worlds.items():
        own = _joined(seen).tenths()
        report.add(f"ece_cv_{cv:g}_routers_{routers}", calibration_error(own), "the same in one world")
    report.add("refused", refused, "requests that were refused and promised nothing")
    _real(report)


def moving_load(*, cv: float, seed: int) -> Trace:
    """The trace of one world."""
    rng = Random(seed)
    levels = [rng.uniform(LOWEST, HIGHEST) for _ in range(_LEVELS)]
    shifts = moving_antagonist(rng, until_ms=_LEVELS * 1000.0)
    return trace_of(shifts, levels=levels, cv=cv, seed=seed, requests=REQUESTS, budgets_ms=_budgets_ms)


def promises_of(trace: Trace, result: Run) -> Promises:
    """The promises of the requests without ample time."""
    budgets_ms = np.array(trace.budgets_ms[-len(result.p_meet) :])
    counted = (budgets_ms < AMPLE_MS) & ~np.isnan(result.p_meet)
    return Promises(result.p_meet[counted], result.answered[counted])


def _budgets_ms(rng: np.random.Generator, requests: int) -> Floats:
    """Half ample, half the way and a gamma distributed rest that is about two service times on average."""
    tight_ms = 2 * HOP_MS + rng.gamma(1.5, 1.4 * MEAN_MS, size=requests)
    ample: Bools = rng.random(requests) < 0.5
    return np.where(ample, AMPLE_MS, np.minimum(tight_ms, AMPLE_MS - 1.0))


def _real(report: Report) -> None:
    with real_runs.real_pool(load=_config(), profile=_PROFILE) as pool:
        pool.hedging(allowed=False)  # a promise is about the first call
        played = pool.play(_real_dues(pool.capacity_per_s(), pool.idle_ms()))
    promises = real_promises(played)
    tenths = promises.tenths()
    for tenth in tenths:
        if tenth.n >= REAL_ENOUGH:
            number = min(int(tenth.promised * _TENTHS), _TENTHS - 1)
            report.add(
                f"real_met_tenth_{number}", tenth.met, f"promised {tenth.promised:.3f}, {tenth.n} requests"
            )
    report.add("real_ece", calibration_error(tenths), "the same error on the real models")
    report.add("real_ece_by_chance", error_by_chance(tenths), "what right promises had with so few requests")
    report.add("real_n", len(promises.met), f"promises, of {len(played)} requests")
    report.add("real_lag_p99_ms", real_runs.lag_p99_ms(played), "ms, how late calls were made, p99")


def _real_dues(capacity_per_s: float, idle_ms: float) -> list[Due]:
    """Another load every second; deadlines from just below an idle call's time on, a quarter are ample."""
    rng = Random(0)
    rates = [capacity_per_s * rng.uniform(LOWEST, HIGHEST) for _ in range(_REAL_S)]
    return [Due(at_s, _real_budget_ms(rng, idle_ms)) for at_s in real_runs.arrivals(rng, rates, step_s=1.0)]


def _real_budget_ms(rng: Random, idle_ms: float) -> float:
    tight_ms = idle_ms * (0.8 + rng.gammavariate(1.5, 0.6))
    return real_runs.AMPLE_MS if rng.random() < _REAL_AMPLE else tight_ms


def real_promises(played: list[Played]) -> Promises:
    """The promises of the calls without ample time that were decided."""
    counted = [call for call in played if call.due.budget_ms < real_runs.AMPLE_MS and not isnan(call.p_meet)]
    return Promises(
        np.array([call.p_meet for call in counted]), np.array([call.met for call in counted], dtype=bool)
    )


def _config() -> LoadConfig:
    return LoadConfig(speed=SpeedConfig(promise=0.05), gate=GateConfig(threshold=1.0))


def _joined(parts: list[Promises]) -> Promises:
    return Promises(
        np.concatenate([part.p_meet for part in parts]), np.concatenate([part.met for part in parts])
    )


def _add_table(report: Report, tenths: list[Tenth]) -> None:
    print(f"  {'promised':>10}{'met':>10}{'off':>10}{'n':>10}")
    for tenth in tenths:
        print(f"  {tenth.promised:>10.4f}{tenth.met:>10.4f}{tenth.met - tenth.promised:>+10.4f}{tenth.n:>10}")
    enough = [tenth for tenth in tenths if tenth.n >= ENOUGH]
    report.add("ece", calibration_error(tenths), "mean |promised - met| over tenths, weighted by promises")
    report.add("worst_excess", worst_excess(tenths), "beyond two standard errors, the worst of those tenths")
    report.add("tenths", len(enough), f"tenths of p with at least {ENOUGH:,} promises")


BENCHMARK: Final = Benchmark(
    name="calibration",
    question="Of the requests promised p, how many are answered in time while load and speeds change?",
    run=run,
    timed=False,
)
