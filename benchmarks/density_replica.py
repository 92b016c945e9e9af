"""One process that holds so many models, for `density.py`: in the shipped worker, or in bare sessions."""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np
import onnxruntime as ort

from benchmarks.child import commands, run, say
from benchmarks.harness import middle
from deployments.router.execution.slots import Slots
from deployments.router.execution.worker import InferenceWorker
from deployments.router.replies import Refusal
from inference.cards import read_card
from inference.session import Session, read_artefact
from models.card import ModelCard, ModelStatus
from models.forecast import InferCall
from models.garbage import spare_collections
from models.metrics import MemoryMeter
from models.request import Requirements
from models.task import CONTEXT_FEATURES, TASKS, WINDOW, DataSize
from routing.catalogue import Catalogue
from routing.engine import Engine
from routing.load import LoadTable, ReplicaMeta
from routing.profiles import load_profiles
from serve_app.settings import ROOT

CALLS: Final = 2_000
_WARM_UP: Final = 200
_DIRECTORY: Final = ROOT / "model_repository" / "mlp" / "1"
_PAGE_KB: Final = 4


class Hub:
    """The worker of a replica, and what a router knows of it."""

    def __init__(self, cards: Sequence[ModelCard], artefact: bytes) -> None:
        self._cards = cards
        self._worker = InferenceWorker(
            replica="r",
            boot="b",
            models=[Session(artefact, card) for card in cards],
            slots=Slots(slots=2, max_queue=32),
            clock=time.time_ns,
            meter=MemoryMeter(),
        )

    async def measure(self) -> dict[str, float]:
        """Medians of calls and of decisions, microseconds."""
        return {"infer_us": await _median_us(self._call), "decide_us": await _median_us(self._decider())}

    async def _call(self, number: int) -> None:
        reply = await self._worker.infer(_call(str(self._cards[number % len(self._cards)].key)))
        if isinstance(reply, Refusal):
            raise reply.error

    def _decider(self) -> Callable[[int], Awaitable[None]]:
        engine = Engine(load_profiles((ROOT / "config" / "profiles.yaml").read_text(encoding="utf-8")))
        catalogue, table, rng = Catalogue.of(self._cards, version=1), LoadTable(), Random(1)
        meta = ReplicaMeta("pool", "cpu", 2, {str(card.key): list(card.warm) for card in self._cards})
        table.replicas_updated("pool", [("r", meta)], now_ns=time.time_ns())

        async def decide(_: int) -> None:
            now_ns = time.time_ns()
            engine.decide(_wanted(now_ns), catalogue, table.snapshot(now_ns), now_ns=now_ns, rng=rng)

        return decide


class Bare:
    """Sessions of onnxruntime with the options that ours have."""

    def __init__(self, cards: Sequence[ModelCard], artefact: bytes) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._sessions = [ort.InferenceSession(artefact, options) for _ in cards]
        self._inputs = {
            "window": np.full((1, WINDOW), 5e-5, np.float32),
            "context": np.zeros((1, len(CONTEXT_FEATURES)), np.float32),
        }

    async def measure(self) -> dict[str, float]:
        """The median of calls, microseconds."""
        return {"infer_us": await _median_us(self._call)}

    async def _call(self, number: int) -> None:
        self._sessions[number % len(self._sessions)].run(None, self._inputs)


async def _median_us(call: Callable[[int], Awaitable[None]]) -> float:
    times = []
    for number in range(_WARM_UP + CALLS):
        begun = time.perf_counter()
        await call(number)
        times.append((time.perf_counter() - begun) * 1e6)
    return middle(times[_WARM_UP:])


def _call(model: str) -> InferCall:
    return InferCall(
        call_id="c",
        model=model,
        window=np.full((1, WINDOW), 5e-5, np.float32),
        context=np.zeros((1, len(CONTEXT_FEATURES)), np.float32),
        interval_level=0.9,
        deadline_ns=time.time_ns() + 10**9,
        traceparent="",
    )


def _wanted(now_ns: int) -> Requirements:
    return Requirements(task=next(iter(TASKS)), rows=1, data_size=DataSize.SMALL, deadline_ns=now_ns + 10**9)


def _resident_kb() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE_KB


def _held(way: str, size: int) -> tuple[Hub | Bare, float]:
    """So many models, and how much memory each of them takes."""
    card, artefact = read_card(_DIRECTORY), read_artefact(_DIRECTORY)
    named = [{"name": f"m{number}", "status": ModelStatus.LIVE} for number in range(size)]
    cards = [card.model_copy(update=changes) for changes in named]
    make = Hub if way == "hub" else Bare
    make(cards[:1], artefact)  # what the first of all costs is the library's
    gc.collect()
    before = _resident_kb()
    held = make(cards, artefact)
    return held, (_resident_kb() - before) / size


async def main() -> None:
    """Load, and measure when told to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.density_replica", description=__doc__)
    parser.add_argument("way", choices=("hub", "bare"))
    parser.add_argument("size", type=int)
    asked = parser.parse_args()
    held, kb_per_model = _held(asked.way, asked.size)
    spare_collections()
    said: dict[str, Any] = {"ready": True}
    say(said)
    async for _ in commands():
        say({**await held.measure(), "kb_per_model": kb_per_model})


if __name__ == "__main__":
    run(main())
