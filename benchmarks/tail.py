"""Our latency router for any Serve application, beside Ray's default router, round robin and capacity queue.

Replicas sleep 100 to 200 ms in two slots each, so that two cores suffice. Pools are compared two at a time,
under the same calls at the same time. A second pool with Ray's default is compared with the first in the same
way: by how much they differ (`aa_spread_...`) is the spread that a ratio must exceed.

One scenario more runs a real model of the repository on two replicas, of which one gets a tenth of the
processor.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from random import Random
from typing import Final

from benchmarks.child import Child, child
from benchmarks.harness import Benchmark, Report, percentile, spread
from benchmarks.serve_pool.cells import REPLICAS, Act, Cell, CellResult, PoolResult

OURS, DEFAULT, AGAIN = "ours", "default", "default_again"
PEERS: Final = ("round_robin", "capacity_queue")
RATE: Final = 50.0
WARM_S: Final = 5.0
SETTLE_S: Final = 10.0
FREEZE_S: Final = 6.0
MODEL, MODEL_RATE, MODEL_S = "gru-reservoir", 25.0, 20.0
"""One window takes it 6 ms, so that three pools keep less than half a core busy."""


def scenario(name: str, seconds: float, *acts: Act, rate: float = RATE) -> Cell:
    """Ours and the default under the same calls; what happens in the warm-up does not count."""
    return Cell(name, (OURS, DEFAULT), rate, WARM_S + seconds, WARM_S, acts)


def antagonist(seconds: float, every_s: float) -> Iterator[Act]:
    """Another replica is five times slower every few seconds."""
    rng = Random(4)
    for number in range(int((WARM_S + seconds) / every_s)):
        yield Act(number * every_s, slower={rng.randrange(REPLICAS): 5.0})


def bursts(seconds: float) -> Iterator[Act]:
    """Three seconds in every six see five times the calls."""
    for number in range(int((WARM_S + seconds) / 6.0)):
        yield Act(6.0 * number, rate=16.0)
        yield Act(6.0 * number + 3.0, rate=80.0)


def freezes(at_s: float, replicas: Sequence[int]) -> Iterator[Act]:
    """One replica after the other is stopped, and let go on before the next."""
    for number, replica in enumerate(replicas):
        yield Act(at_s + 2 * number * FREEZE_S, frozen=replica)
        yield Act(at_s + (2 * number + 1) * FREEZE_S, frozen=-1)


HOMOGENEOUS: Final = scenario("homogeneous", 20.0)
SLOW: Final = scenario("slow", 20.0, Act(0.0, slower={0: 5.0, 1: 5.0}))
ANTAGONIST: Final = scenario("antagonist", 25.0, *antagonist(25.0, 5.0))
BURST: Final = scenario("burst", 19.0, *bursts(19.0), rate=16.0)
SCALE: Final = scenario("scale", 12.0, Act(0.0, shown=2), Act(WARM_S, shown=REPLICAS, rate=RATE), rate=18.0)
FAILFAST: Final = scenario("failfast", 45.0, Act(WARM_S, slower={5: 0.0}))
FROZEN: Final = scenario("frozen", 4 * FREEZE_S, *freezes(WARM_S, (6, 3)))
ONNX: Final = Cell(
    "onnx",
    (OURS, DEFAULT, AGAIN),
    MODEL_RATE,
    WARM_S + MODEL_S,
    WARM_S,
    (Act(0.0, throttled=0),),
)
BESIDE_PEERS: Final = (HOMOGENEOUS, SLOW)
CELLS: Final = (HOMOGENEOUS, SCALE, BURST, SLOW, ANTAGONIST, FAILFAST, FROZEN)


@dataclass
class Results:
    """What came of the cells, by scenario: ours and Ray's other pools, each beside the default."""

    ours: dict[str, CellResult] = field(default_factory=dict)
    peers: dict[str, dict[str, CellResult]] = field(default_factory=dict)

    def p99_ratio(self, scenario: str) -> float:
        """Ours over the default."""
        return _ratio(self.ours[scenario], OURS)

    def aa_spread(self, scenario: str) -> float:
        """How far two pools with the default were apart."""
        pools = self.peers[scenario][AGAIN].pools
        return spread([_p99(pools[DEFAULT])], [_p99(pools[AGAIN])])


def run(report: Report) -> None:
    """Bring up the pools, run the cells, add the figures."""
    results = asyncio.run(_measured(report))
    for cell in (*CELLS, ONNX):
        _latency(report, results, cell.name)
    for cell in BESIDE_PEERS:
        _beside_peers(report, results, cell.name)
    report.add("aa_spread_onnx", results.aa_spread(ONNX.name), "share, Ray's default against itself")
    aa = report.figures["aa_spread_homogeneous"]
    excess = report.figures["homogeneous_p99_ratio"] - aa
    report.add("homogeneous_p99_excess", excess, "x, ours over the default less its spread (aim <= 1.0)")
    _failures(report, results)


async def _measured(report: Report) -> Results:
    results = Results()
    async with child("benchmarks.serve_pool.driver", [OURS, DEFAULT, AGAIN, *PEERS]) as driver:
        await asyncio.sleep(SETTLE_S)  # forty processes have just been born
        for cell in CELLS:
            results.ours[cell.name] = await _asked(driver, cell, report)
        for cell in BESIDE_PEERS:
            beside = {pool: replace(cell, pools=(DEFAULT, pool)) for pool in (AGAIN, *PEERS)}
            results.peers[cell.name] = {p: await _asked(driver, c, report) for p, c in beside.items()}
    await measure_onnx(report, results)
    return results


async def measure_onnx(report: Report, results: Results) -> None:
    """The same where the processor does the work: on a Ray of its own, with nothing else on it."""
    async with child("benchmarks.serve_pool.driver", ["--model", MODEL, *ONNX.pools]) as driver:
        result = await _asked(driver, ONNX, report)
    results.ours[ONNX.name], results.peers[ONNX.name] = result, {AGAIN: result}


async def _asked(driver: Child, cell: Cell, report: Report) -> CellResult:
    result = CellResult.of(await driver.ask(json.dumps(asdict(cell))))
    report.validity.heard(result.lags_ms)
    return result


def _latency(report: Report, results: Results, name: str) -> None:
    ours, default = (results.ours[name].pools[pool] for pool in (OURS, DEFAULT))
    report.add(f"{name}_p99_ms", _p99(ours), f"ms, ours; median {percentile(ours.latencies_ms, 50):.0f}")
    report.add(f"{name}_default_p99_ms", _p99(default), f"ms, of {default.calls} calls")
    report.add(f"{name}_p99_ratio", results.p99_ratio(name), "x, ours over Ray's default")


def _beside_peers(report: Report, results: Results, name: str) -> None:
    report.add(f"aa_spread_{name}", results.aa_spread(name), "share, Ray's default against itself")
    for peer in PEERS:
        ratio = _ratio(results.peers[name][peer], peer)
        report.add(f"{name}_{peer}_ratio", ratio, f"x, p99 of Ray's {peer} over its default")


def _failures(report: Report, results: Results) -> None:
    failed, frozen = results.ours[FAILFAST.name].pools, results.ours[FROZEN.name].pools
    report.add("failfast_error_share", _failed(failed[OURS]), "of calls, one of eight fails at once")
    report.add("failfast_default_error_share", _failed(failed[DEFAULT]), "of calls, Ray's default")
    report.add("frozen_ejected_s", frozen[OURS].frozen_picked_s, "s to the last call it got, worse of two")
    report.add(
        "frozen_default_ejected_s", frozen[DEFAULT].frozen_picked_s, f"s, Ray's default, of {FREEZE_S:g}"
    )


def _ratio(cell: CellResult, pool: str) -> float:
    return _p99(cell.pools[pool]) / _p99(cell.pools[DEFAULT])


def _p99(pool: PoolResult) -> float:
    return percentile(pool.latencies_ms, 99)


def _failed(pool: PoolResult) -> float:
    return (pool.failed + pool.lost) / pool.calls


BENCHMARK: Final = Benchmark(
    name="tail",
    question="How long is the tail of a Serve app with our latency router, beside Ray's own routers?",
    run=run,
)
