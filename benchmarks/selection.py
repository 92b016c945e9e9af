"""How good the choice of a replica is: mean completion over that of a central oracle on the same requests.

Virtual time, the shipped engine and load table (`benchmarks/queueing`). Calls take 150 ms on average and
the way 1 ms each; two of eight replicas are five times slower, and nobody tells the routers. The oracle sees
the calls of all routers and the true mean speeds. The peers are power of two choices and plain shortest
expected delay, which learns with a gain of 0.3; beside them ours without the forecast of foreign load, and on
calls of 10 ms with a way of 0.5 ms, where what is on its way weighs more.

The oracle beside itself twice: with other draws among equals on the same requests (`aa_spread`, to which the
ratios compare, for they are of the same requests, too), and on other requests (`aa_halves`).

On the real ONNX models (`benchmarks/callers/real_runs.py`) nobody knows the true queues; there
`real_mean_ratio` is over Ray's own router on the same arrivals at 0.4 of what the pool serves, with two
replicas alike and with one of them slowed to a third. Reported, not judged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from random import Random
from typing import Final, NamedTuple

from benchmarks.callers import real_runs
from benchmarks.callers.player import OK, Due, Played
from benchmarks.harness import Benchmark, Report, middle, spread
from benchmarks.queueing.delay import ShortestExpectedDelay
from benchmarks.queueing.hub import Hub
from benchmarks.queueing.policies import MakePolicy, Oracle, PowerOfTwo
from benchmarks.queueing.runs import Run
from benchmarks.queueing.simulation import simulate
from benchmarks.queueing.traces import slow_two_of_eight, slower
from routing.load import LoadConfig

SEEDS: Final = 4
REQUESTS: Final = 10_000
REAL_LOAD: Final = 0.4
STILL_S, EVERY_S = 0.04, 0.06
_ROUNDS: Final = 3
_ROUND_S: Final = 5.0
_TIMES: Final = 15.0
_HOP_MS: Final = 1.0


class Cell(NamedTuple):
    """A load, as a share of all capacity, and a coefficient of variation of service times."""

    load: float
    cv: float


class Peer(NamedTuple):
    """A policy, the prefix of its figures and the numbers of routers it is measured with."""

    name: str
    prefix: str
    make: MakePolicy
    routers: Sequence[int]


CELLS: Final = tuple(Cell(load, cv) for load in (0.5, 0.8) for cv in (0.5, 1.0))
PEERS: Final = (
    Peer("hub", "oracle_ratio", Hub, (1, 2, 8)),
    Peer(
        "hub without forecast", "no_forecast_ratio", partial(Hub, config=LoadConfig(forecast=False)), (2, 8)
    ),
    Peer("plain shortest expected delay", "sed_ratio", ShortestExpectedDelay, (1, 2, 8)),
    Peer("power of two", "pow2_ratio", PowerOfTwo, (1, 2, 8)),
)
_OPTIMAL: Final = "optimal"
_QUICK: Final = "optimal, 10 ms"
_SAME: Final = "same requests"
_ORACLE_MS: Final = "oracle ms"

Series = Mapping[Cell, Sequence[float]]
"""One value per seed."""


def run(report: Report) -> None:
    """Every policy on every trace; then the worst cell of each, the cells of ours, and the real pool."""
    measured: dict[str, dict[Cell, list[float]]] = defaultdict(lambda: defaultdict(list))
    for seed in range(SEEDS):
        for cell in CELLS:
            for name, value in _on_one_trace(cell, seed):
                measured[name][cell].append(value)
    for peer in PEERS:
        for routers in peer.routers:
            name = f"{peer.prefix}_{routers}"
            _add_worst(report, name, measured[name], f"x the oracle's mean, {peer.name}")
    _add_optimal(report, measured[_OPTIMAL])
    quick = min(middle(values) for values in measured[_QUICK].values())
    report.add("optimal_1_router_10ms", quick, "the same on calls of 10 ms, worst cell")
    _add_spreads(report, measured)
    for routers in (1, 2, 8):
        _add_cells(report, f"ratio_{routers}", measured[f"oracle_ratio_{routers}"])
    _real(report)


def _on_one_trace(cell: Cell, seed: int) -> Iterator[tuple[str, float]]:
    quick = slow_two_of_eight(load=cell.load, cv=cell.cv, seed=seed, requests=REQUESTS)
    yield _QUICK, _optimal(simulate(quick, Hub, seed=seed))
    trace = slower(quick, times=_TIMES, hop_ms=_HOP_MS)
    oracle_ms = simulate(trace, Oracle, seed=seed).mean_ms
    yield _ORACLE_MS, oracle_ms
    yield _SAME, simulate(trace, Oracle, seed=-1 - seed).mean_ms / oracle_ms
    for peer in PEERS:
        for routers in peer.routers:
            result = simulate(trace, peer.make, routers=routers, seed=seed)
            yield f"{peer.prefix}_{routers}", result.mean_ms / oracle_ms
            if peer.make is Hub and routers == 1:
                yield _OPTIMAL, _optimal(result)


def _optimal(result: Run) -> float:
    return float(result.near_best.mean())


def _add_worst(report: Report, name: str, cells: Series, says: str) -> None:
    worst = max(cells, key=lambda cell: middle(cells[cell]))
    report.add(name, middle(cells[worst]), f"{says}; worst at {_named(worst)}, {_seeds(cells[worst])}")


def _add_optimal(report: Report, cells: Series) -> None:
    worst = min(cells, key=lambda cell: middle(cells[cell]))
    says = f"of decisions within 10 % of the best, 1 router; worst at {_named(worst)}, {_seeds(cells[worst])}"
    report.add("optimal_1_router", middle(cells[worst]), says)
    _add_cells(report, "optimal_1", cells)


def _add_spreads(report: Report, measured: Mapping[str, Series]) -> None:
    same = max(abs(ratio - 1.0) for ratios in measured[_SAME].values() for ratio in ratios)
    halves = max(spread(means[::2], means[1::2]) for means in measured[_ORACLE_MS].values())
    report.add("aa_spread", same, "share, the oracle against itself on the same requests, worst seed")
    report.add("aa_halves", halves, "share, the oracle on half of the seeds against the other half")


def _add_cells(report: Report, prefix: str, cells: Series) -> None:
    for cell, values in cells.items():
        report.add(f"{prefix}_load_{cell.load:g}_cv_{cell.cv:g}", middle(values), _seeds(values))


def _real(report: Report) -> None:
    with real_runs.real_pool() as pool:
        due_s = real_runs.arrivals(Random(1), [REAL_LOAD * pool.capacity_per_s()], step_s=_ROUND_S)
        dues = [Due(at_s, real_runs.AMPLE_MS) for at_s in due_s]
        _add_real(report, "", pool, dues=dues, trouble=nullcontext())
        slowed = real_runs.standing_still(pool.pid(), for_s=STILL_S, every_s=EVERY_S)
        _add_real(report, "_one_slow", pool, dues=dues, trouble=slowed)


def _add_real(
    report: Report,
    name: str,
    pool: real_runs.RealPool,
    *,
    dues: Sequence[Due],
    trouble: AbstractContextManager[None],
) -> None:
    """Ray's router and ours in turns, in the same trouble."""
    played: dict[str, list[list[Played]]] = {"bare": [], "routed": []}
    with trouble:
        for way in ("bare", "routed") * _ROUNDS:
            played[way].append(pool.play(dues, way=way))
    ours, rays = ([mean_ms(calls) for calls in played[way]] for way in ("routed", "bare"))
    report.add(f"real_mean_ms{name}", middle(ours), f"ms, real models, ours, {_ROUNDS} x {len(dues)} calls")
    report.add(f"real_mean_ms_ray{name}", middle(rays), "ms, the same, Ray's own router")
    report.add(f"real_aa_spread{name}", max(rays) / min(rays) - 1.0, "share, Ray's router against itself")
    report.add(f"real_mean_ratio{name}", middle(ours) / middle(rays), "x, ours over Ray's own router")


def mean_ms(played: Sequence[Played]) -> float:
    """Mean time of the calls that were answered."""
    answered = [call.elapsed_ms for call in played if call.outcome == OK]
    return sum(answered) / len(answered)


def _named(cell: Cell) -> str:
    return f"load {cell.load:g}, CV {cell.cv:g}"


def _seeds(values: Iterable[float]) -> str:
    ordered = sorted(values)
    return f"{ordered[0]:.3f} to {ordered[-1]:.3f} over {len(ordered)} seeds"


BENCHMARK: Final = Benchmark(
    name="selection",
    question="How far is the mean completion from a central oracle's, with 1, 2 and 8 independent routers?",
    run=run,
    timed=False,
)
