"""The process that calls the pools, open loop; told cells by the benchmark, it answers with what came of it.

Every pool of a cell gets the same calls: the same arrivals, shifted a little, with the same service times.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import asdict
from random import Random
from typing import Any, Final, TextIO

import ray
from ray import serve
from ray.serve import RunTarget
from ray.serve.handle import DeploymentHandle

from benchmarks.callers.cluster import start_ray
from benchmarks.child import commands
from benchmarks.serve_pool import sight
from benchmarks.serve_pool.cells import Act, Cell, CellResult, PoolResult
from benchmarks.serve_pool.deployments import application
from benchmarks.serve_pool.replica import ToldToFailError
from benchmarks.serve_pool.throttles import Throttles

QUICKEST_S, SLOWEST_S = 0.1, 0.2
_ENVIRONMENT: Final = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "5000",
    "RAY_enable_metrics_collection": "0",
}
"""Less of what costs processor time between calls, for every pool alike."""
_LAG_EVERY_S: Final = 0.005
_LOST_AFTER_S: Final = 20.0


class Pool:
    """One deployment, its replicas by number, and the calls to it."""

    def __init__(self, name: str, handle: DeploymentHandle[Any]) -> None:
        self.name = name
        self._handle = handle
        self._replicas: list[tuple[str, int]] = []
        self._freezes: list[tuple[float, float, str]] = []
        self._frozen: tuple[float, str] | None = None
        self._throttles = Throttles()

    async def behave(self, slower: dict[int, float]) -> None:
        """Let its replicas run as much slower as is said."""
        named = {self._replicas[number][0]: times for number, times in slower.items()}
        replies = self._handle.broadcast("behave", named)
        self._replicas = sorted(await replies.results_async())

    def freeze(self, number: int) -> None:
        """Stop the process of one replica."""
        name, pid = self._replicas[number]
        self._frozen = (time.monotonic(), name)
        os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let every replica go on."""
        for _, pid in self._replicas:
            os.kill(pid, signal.SIGCONT)
        if self._frozen is not None:
            (begun_s, name), self._frozen = self._frozen, None
            self._freezes.append((begun_s, time.monotonic(), name))

    async def throttle(self, number: int) -> None:
        """Leave the process of one replica little of the processor."""
        await self._throttles.begin(self._replicas[number][1])

    async def settle(self) -> None:
        """Let every replica be as fast as ever."""
        await self._throttles.end()
        await self.behave({})

    def frozen_picked_s(self) -> float:
        """How long after it was stopped a replica got its last call before it went on: the longest."""
        freezes, self._freezes = self._freezes, []
        picks = sight.PICKS[self.name]
        waits_s = [
            at_s - begun_s
            for begun_s, ended_s, frozen in freezes
            for at_s, name in picks
            if name == frozen and begun_s <= at_s < ended_s
        ]
        return max(waits_s, default=0.0)

    async def call(self, seconds: float, due_s: float, into: PoolResult) -> None:
        """One call, whose latency counts from when it was due."""
        loop = asyncio.get_running_loop()
        response = self._handle.work.remote(seconds)
        try:
            async with asyncio.timeout(_LOST_AFTER_S):
                await response
        except ToldToFailError:
            into.failed += 1
        except TimeoutError:
            into.lost += 1
        else:
            into.latencies_ms.append((loop.time() - due_s) * 1e3)


class Run:
    """One cell."""

    def __init__(self, cell: Cell, pools: list[Pool]) -> None:
        self._cell = cell
        self._pools = pools
        self._rate = cell.rate
        self._begun_s = asyncio.get_running_loop().time()
        self._results = {pool.name: PoolResult() for pool in pools}
        self._lags_ms: list[float] = []

    async def result(self) -> CellResult:
        """Call the pools and act, until every call has ended."""
        lag = asyncio.create_task(self._watch_lag())
        shifts = [number / len(self._pools) / self._cell.rate for number in range(len(self._pools))]
        offering = [self._offer(pool, shift) for pool, shift in zip(self._pools, shifts, strict=True)]
        await asyncio.gather(self._play(), *offering)
        lag.cancel()
        for pool in self._pools:
            await pool.settle()
            self._results[pool.name].frozen_picked_s = pool.frozen_picked_s()
        sight.PICKS.clear()
        return CellResult(self._results, self._lags_ms)

    async def _offer(self, pool: Pool, shift_s: float) -> None:
        rng, loop, unmeasured = Random(self._cell.name), asyncio.get_running_loop(), PoolResult()
        due_s, calls = shift_s, []
        while due_s < self._cell.seconds:
            await asyncio.sleep(self._begun_s + due_s - loop.time())
            into = self._results[pool.name] if due_s >= self._cell.warm_s else unmeasured
            seconds = rng.uniform(QUICKEST_S, SLOWEST_S)
            calls.append(asyncio.create_task(pool.call(seconds, self._begun_s + due_s, into)))
            due_s += rng.expovariate(self._rate)
        await asyncio.gather(*calls)

    async def _play(self) -> None:
        for act in self._cell.acts:
            await asyncio.sleep(self._begun_s + act.at_s - asyncio.get_running_loop().time())
            await self._do(act)

    async def _do(self, act: Act) -> None:
        self._rate = act.rate or self._rate
        if act.shown is not None:
            sight.show(act.shown)
        if act.slower is not None:
            await asyncio.gather(*(pool.behave(act.slower) for pool in self._pools))
        if act.throttled is not None:
            await asyncio.gather(*(pool.throttle(act.throttled) for pool in self._pools))
        if act.frozen is not None:
            for pool in self._pools:
                pool.freeze(act.frozen) if act.frozen >= 0 else pool.thaw()

    async def _watch_lag(self) -> None:
        while True:
            begun_s = time.perf_counter()
            await asyncio.sleep(_LAG_EVERY_S)
            self._lags_ms.append((time.perf_counter() - begun_s - _LAG_EVERY_S) * 1e3)


async def _serve_commands(names: list[str], model: str | None, answers: TextIO) -> None:
    targets = [RunTarget(application(name, model=model), name=name, route_prefix=None) for name in names]
    handles = await asyncio.to_thread(serve.run_many, targets)
    pools = {name: Pool(name, handle) for name, handle in zip(names, handles, strict=True)}
    for pool in pools.values():
        await pool.behave({})
    print("{}", file=answers, flush=True)
    async for command in commands():
        cell = Cell.of(json.loads(command))
        result = await Run(cell, [pools[name] for name in cell.pools]).result()
        print(json.dumps(asdict(result)), file=answers, flush=True)


@contextmanager
def _ray() -> Iterator[None]:
    """A Ray of our own in a short directory: socket paths have a limit."""
    os.environ.update(_ENVIRONMENT)
    logging.getLogger("ray").setLevel(logging.ERROR)
    directory = tempfile.mkdtemp(prefix="tail-", dir="/tmp")
    start_ray(directory)
    try:
        serve.start(proxy_location="Disabled", logging_config={"log_level": "ERROR"})
        yield
    finally:
        serve.shutdown()  # type: ignore[no-untyped-call]
        ray.shutdown()
        shutil.rmtree(directory, ignore_errors=True)


def main() -> None:
    """Answers go to standard output, and nothing else does: Ray is talkative."""
    asked = _arguments()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with redirect_stdout(sys.stderr), _ray(), suppress(KeyboardInterrupt):
        asyncio.run(_serve_commands(asked.pools, asked.model, answers))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(__doc__)
    parser.add_argument("pools", nargs="+", help="named for their ways of choosing")
    parser.add_argument("--model", help="what their replicas run; without it they sleep")
    return parser.parse_args()


if __name__ == "__main__":
    main()
