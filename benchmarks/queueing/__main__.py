"""`python -m benchmarks.queueing`: a policy beside the central oracle on the same traces, a line per cell."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import product
from statistics import fmean, stdev
from typing import Final

from benchmarks.queueing.delay import ShortestExpectedDelay
from benchmarks.queueing.hub import Hub
from benchmarks.queueing.policies import LeastQueue, MakePolicy, Oracle, PowerOfTwo
from benchmarks.queueing.runs import Run
from benchmarks.queueing.simulation import simulate
from benchmarks.queueing.traces import SCENARIOS

POLICIES: Final[Mapping[str, MakePolicy]] = {
    "hub": Hub,
    "oracle": Oracle,
    "sed": ShortestExpectedDelay,
    "pow2": PowerOfTwo,
    "least_queue": LeastQueue,
}
_HEADS: Final = ("load", "cv", "routers", "mean ms", "p50", "p99", "slow", "near best", "refused", "us")


def main() -> int:
    """Print mean, percentiles, the share sent to slow replicas and the ratio to the oracle."""
    asked = _arguments()
    print(f"{asked.policy} on {asked.scenario}, {asked.seeds} seeds x {asked.requests} requests")
    print("".join(f"{head:>10}" for head in _HEADS) + "   mean over the oracle's")
    for load, cv, routers in product(asked.load, asked.cv, asked.routers):
        _cell(asked, load, cv, routers)
    return 0


def _cell(asked: argparse.Namespace, load: float, cv: float, routers: int) -> None:
    scenario, make = SCENARIOS[asked.scenario], POLICIES[asked.policy]
    runs: list[Run] = []
    ratios: list[float] = []
    took_s = 0.0
    for seed in range(asked.seeds):
        trace = scenario(load=load, cv=cv, seed=seed, requests=asked.requests)
        begun = time.perf_counter()
        runs.append(simulate(trace, make, routers=routers, seed=seed))
        took_s += time.perf_counter() - begun
        ratios.append(runs[-1].mean_ms / simulate(trace, Oracle, seed=seed).mean_ms)
    spread = stdev(ratios) if len(ratios) > 1 else 0.0
    numbers = (
        f"{load:g}",
        f"{cv:g}",
        f"{routers}",
        f"{fmean(run.mean_ms for run in runs):.2f}",
        f"{fmean(run.percentile_ms(50) for run in runs):.2f}",
        f"{fmean(run.percentile_ms(99) for run in runs):.1f}",
        f"{fmean(run.slow.mean() for run in runs):.2%}",
        f"{fmean(run.near_best.mean() for run in runs):.3f}",
        f"{sum(run.refused for run in runs)}",
        f"{took_s * 1e6 / (asked.seeds * asked.requests):.1f}",
    )
    ratio = f"{fmean(ratios):.4f} +- {spread:.4f} (seeds)"
    print("".join(f"{number:>10}" for number in numbers) + f"   {ratio}", flush=True)


def _arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.queueing", description=__doc__)
    parser.add_argument("--policy", choices=POLICIES, default="hub")
    parser.add_argument("--scenario", choices=SCENARIOS, default="slow")
    parser.add_argument("--load", type=float, nargs="+", default=[0.5, 0.8], help="shares of capacity")
    parser.add_argument("--cv", type=float, nargs="+", default=[0.5, 1.0], help="of service times")
    parser.add_argument("--routers", type=int, nargs="+", default=[1])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=20_000, help="per seed")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
