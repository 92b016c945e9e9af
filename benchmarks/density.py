"""Many models in one replica: what that does to inference, to decisions, and to memory.

A process each for 10, 100 and 1,000 models, so that no memory of one is counted for another. Each holds so
many copies of a small network in the shipped worker, and a catalogue and a load table with as many models;
calls go to the models in turn, so that no cache keeps the one that answers. The peer is onnxruntime's own:
the same artefacts in bare sessions, called the same way, in processes of their own.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from benchmarks.child import child
from benchmarks.harness import Benchmark, Report, middle, spread

SIZES: Final = (10, 100, 1_000)
ROUNDS: Final = 5


def run(report: Report) -> None:
    """Fewest and most models in turn, so that whatever disturbs the machine disturbs them alike."""
    asyncio.run(_measure(report))


async def _measure(report: Report) -> None:
    watching = asyncio.create_task(report.validity.watch_loop())
    ours: dict[int, list[dict[str, Any]]] = {size: [] for size in SIZES}
    bare: list[dict[str, Any]] = []
    for number in range(ROUNDS):
        for size in SIZES:
            ours[size].append(await _held("hub", size))
        bare += [await _held("bare", SIZES[-1]) for _ in range(1 + (number == 0))]
    watching.cancel()
    for size in SIZES:
        for name, says in (("infer", "a call through the worker"), ("decide", "a decision")):
            report.add(f"{name}_us_{size}", _middle(ours[size], f"{name}_us"), f"us, {says}, {size} models")
    _ratios(report, ours, bare)


def _ratios(report: Report, ours: dict[int, list[dict[str, Any]]], bare: list[dict[str, Any]]) -> None:
    report.add("kb", _middle(ours[SIZES[-1]], "kb_per_model"), f"KB of memory per model, of {SIZES[-1]}")
    report.add("bare_infer_us", _middle(bare, "infer_us"), f"us, a bare session, one of {SIZES[-1]}")
    report.add("bare_kb", _middle(bare, "kb_per_model"), "KB of memory per bare session")
    first, again = ([one["infer_us"] for one in bare[start::2]] for start in (0, 1))
    report.add("aa_spread", spread(first, again), "share, bare sessions against themselves")
    growth = {
        name: _middle(ours[SIZES[-1]], name) / _middle(ours[SIZES[0]], name)
        for name in ("infer_us", "decide_us")
    }
    report.add("infer_growth", growth["infer_us"], f"x, a call with {SIZES[-1]} models over {SIZES[0]}")
    report.add("decide_growth", growth["decide_us"], "x, a decision likewise")
    report.add("latency_growth", max(growth.values()), "x, the larger of the two")
    memory = _middle(ours[SIZES[-1]], "kb_per_model") / _middle(bare, "kb_per_model")
    report.add("memory_ratio", memory, "x, memory per model over onnxruntime's own")


async def _held(way: str, size: int) -> dict[str, Any]:
    async with child("benchmarks.density_replica", [way, str(size)]) as replica:
        return await replica.ask("measure")


def _middle(runs: list[dict[str, Any]], name: str) -> float:
    return middle([one[name] for one in runs])


BENCHMARK: Final = Benchmark(
    name="density",
    question="What do 10, 100 and 1,000 models in one replica do to calls, decisions and memory?",
    run=run,
)
