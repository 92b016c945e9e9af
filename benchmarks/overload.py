"""More requests than can be answered: what is still answered in time, and whether it is what matters.

Half to five times of what the replicas can serve, a fifth of it critical, in virtual time with the shipped
door, engine and load table; the peer is the same without the door, where only the engine refuses. One
scenario more on real time and real memory: three replicas with two slots, at most 200 calls a second.

And one on the real ONNX models (`benchmarks/callers/real_runs.py`), at half, once and twice what the pool was
measured to serve: `real_onnx_*`, reported and not judged, for replicas and caller share the two cores.

Goodput counts answers within the deadline. The peer's spread against itself is over other requests.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from random import Random
from typing import Any, Final

from benchmarks.callers import real_runs
from benchmarks.callers.player import OK, Due, Played
from benchmarks.child import child
from benchmarks.harness import Benchmark, Report, middle, spread
from benchmarks.overload_pool import CRITICAL_SHARE, Setting, Tally, offered
from models.request import Priority
from tests.support.virtual_loop import run_virtual

LOADS: Final = (0.5, 1.0, 1.5, 2.0, 5.0)
SEEDS: Final = (1, 2, 3)
AGAIN: Final = (4, 5, 6)
SECONDS: Final = 20.0
REAL_REPLICAS: Final = 3
REAL_SECONDS: Final = 15.0
ONNX_LOADS: Final = (0.5, 1.0, 2.0)
ONNX_SECONDS: Final = 8.0
ONNX_WARM_UP_S: Final = 2.0
ONNX_DEADLINE_MS: Final = {Priority.CRITICAL: 200.0, Priority.BULK: 400.0}
CRITICAL: Final = Priority.CRITICAL

Series = dict[float, list[Tally]]
"""By load, one tally per seed."""


def run(report: Report) -> None:
    """Virtual time first, with the peer beside it; then real time, then real models."""
    ours, peer = _series(SEEDS, admission=True), _series(SEEDS, admission=False)
    report.add("goodput_at_5x", _of_peak(ours), f"of the peak, {_goodput(ours[5.0]):.0f} answers/s in time")
    report.add("critical_met_at_2x", _met(ours[2.0]), "of critical requests answered in time")
    report.add("goodput_at_5x_without", _of_peak(peer), "of the peak, without the door")
    report.add("critical_met_at_2x_without", _met(peer[2.0]), "of critical requests, without the door")
    _add_spread(report, peer)
    _add_loads(report, ours, peer)
    _add_routers(report)
    asyncio.run(_real(report))
    _on_real_models(report)


def _series(seeds: Sequence[int], *, admission: bool, loads: Iterable[float] = LOADS) -> Series:
    return {load: [_virtual(load, seed, admission=admission) for seed in seeds] for load in loads}


def _virtual(load: float, seed: int, *, admission: bool = True, routers: int = 1) -> Tally:
    return run_virtual(offered(Setting(load, SECONDS, admission=admission, routers=routers, seed=seed)))


def _goodput(tallies: Iterable[Tally]) -> float:
    return middle([tally.goodput_per_s for tally in tallies])


def _met(tallies: Iterable[Tally]) -> float:
    return middle([tally.met(CRITICAL) for tally in tallies])


def _of_peak(series: Series) -> float:
    return _goodput(series[5.0]) / max(_goodput(tallies) for tallies in series.values())


def _add_spread(report: Report, peer: Series) -> None:
    again = _series(AGAIN, admission=False, loads=(2.0, 5.0))
    goodput = spread([_goodput(peer[5.0])], [_goodput(again[5.0])])
    report.add("aa_spread", goodput, "share, the peer's goodput at 5x on other requests")
    met = abs(_met(peer[2.0]) - _met(again[2.0]))
    report.add("aa_critical", met, "difference, the peer's critical share at 2x on other requests")


def _add_loads(report: Report, ours: Series, peer: Series) -> None:
    for name, series in (("with", ours), ("without", peer)):
        for load, tallies in series.items():
            says = f"answers/s in time {name} the door; critical met {_met(tallies):.3f}"
            report.add(f"goodput_{name}_{load:g}x", _goodput(tallies), says)


def _add_routers(report: Report) -> None:
    """The same replicas used by several processes, none of which knows of the others."""
    for routers in (2, 8):
        tallies = [_virtual(2.0, seed, routers=routers) for seed in SEEDS]
        says = f"of critical requests at 2x, {routers} routers; {_goodput(tallies):.0f} answers/s in time"
        report.add(f"critical_met_at_2x_{routers}", _met(tallies), says)


async def _real(report: Report) -> None:
    """A process of its own per variant, so that memory at rest is that of a fresh one."""
    watching = asyncio.create_task(report.validity.watch_loop())
    async with child("benchmarks.overload_pool", []) as house:
        five = await _asked(house, 5.0, admission=True)
        two = await _asked(house, 2.0, admission=True)
        one = await _asked(house, 1.0, admission=True)
    async with child("benchmarks.overload_pool", []) as house:
        peer_five = await _asked(house, 5.0, admission=False)
        peer_two = await _asked(house, 2.0, admission=False)
    watching.cancel()
    best = max(_tally(said).goodput_per_s for said in (one, two, five))
    report.add("rss_growth", five["most_bytes"] / five["rest_bytes"], "x, resident memory at 5x over at rest")
    report.add("rss_growth_without", peer_five["most_bytes"] / peer_five["rest_bytes"], "x, without the door")
    report.add("real_goodput_at_5x", _tally(five).goodput_per_s / best, "of the peak, real time")
    report.add("real_critical_met_at_2x", _tally(two).met(CRITICAL), "of critical requests, real time")
    report.add("real_critical_met_at_5x", _tally(five).met(CRITICAL), "of critical requests, real time")
    report.add("real_critical_met_at_2x_without", _tally(peer_two).met(CRITICAL), "without the door")
    report.add("real_lag_p99_ms", five["lag_p99_ms"], "ms, how late the loop of that process ran at 5x")


async def _asked(house: Any, load: float, *, admission: bool) -> dict[str, Any]:
    setting = Setting(load, REAL_SECONDS, admission=admission, replicas=REAL_REPLICAS)
    said: dict[str, Any] = await house.ask(json.dumps(asdict(setting)))
    return said


def _tally(said: dict[str, Any]) -> Tally:
    return Tally(**said["tally"])


def _on_real_models(report: Report) -> None:
    with real_runs.real_pool() as pool:
        capacity_per_s = pool.capacity_per_s()
        played = {load: pool.play(onnx_dues(load, capacity_per_s)) for load in ONNX_LOADS}
    tallies = {load: onnx_tally(calls) for load, calls in played.items()}
    best = max(tally.goodput_per_s for tally in tallies.values())
    report.add("real_onnx_capacity", capacity_per_s, "answers/s, without pause and without a door's work")
    for load, tally in tallies.items():
        says = f"of critical requests, real models; {tally.goodput_per_s:.0f} answers/s in time"
        report.add(f"real_onnx_critical_met_at_{load:g}x", tally.met(CRITICAL), says)
    report.add("real_onnx_goodput_at_2x", tallies[2.0].goodput_per_s / best, "of the peak, real models")
    lag_ms = real_runs.lag_p99_ms(played[2.0])
    report.add("real_onnx_lag_p99_ms", lag_ms, "ms, how late calls were made at 2x, p99")


def onnx_dues(load: float, capacity_per_s: float) -> list[Due]:
    """Calls of both classes at a multiple of the capacity, after a warm-up at three quarters of it."""
    rng = Random(1)
    warm_up = real_runs.arrivals(rng, [0.75 * capacity_per_s], step_s=ONNX_WARM_UP_S)
    counted = real_runs.arrivals(rng, [load * capacity_per_s], step_s=ONNX_SECONDS)
    return [_due(rng, at_s) for at_s in [*warm_up, *(ONNX_WARM_UP_S + at_s for at_s in counted)]]


def _due(rng: Random, at_s: float) -> Due:
    priority = CRITICAL if rng.random() < CRITICAL_SHARE else Priority.BULK
    return Due(at_s, ONNX_DEADLINE_MS[priority], priority)


def onnx_tally(played: Iterable[Played]) -> Tally:
    """What became of the calls that came after the warm-up."""
    tally = Tally(ONNX_SECONDS)
    for call in played:
        if call.due.at_s >= ONNX_WARM_UP_S:
            late_or_error = "late" if call.outcome == OK else call.outcome
            tally.add(call.due.priority, "met" if call.met else late_or_error)
    return tally


BENCHMARK: Final = Benchmark(
    name="overload",
    question="At up to five times of capacity, what is answered in time, and is it what is critical?",
    run=run,
)
