"""A small pool of real ONNX replicas, calls drawn for it beforehand, and trouble made for it on purpose.

Two replicas with one slot each, which answer calls of eight rows to the heaviest model: about 20 ms each, so
that the model and not the way is most of a call. Both replicas and the process that calls share the machine,
so what it can serve is measured first, and loads are shares of that.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random
from threading import Event, Thread
from typing import Any, Final

from benchmarks.callers.cluster import serving
from benchmarks.callers.player import Due, Played, PlayerConfig, build_player
from benchmarks.harness import VoidRunError, percentile
from deployments.pool.config import PoolConfig
from deployments.pool.deployment import build_pool
from deployments.router.names import pool_app
from routing.load import LoadConfig
from serve_app.settings import load_settings, read_text, resolved

MODEL: Final = "gru-reservoir"
ROWS: Final = 8
REPLICAS: Final = 2
AMPLE_MS: Final = 5000.0
_POOL, _PLAYER = "bench", "player"
_WARM_UP_S: Final = 3.0
_BUSY_S: Final = 5.0
_CALLERS: Final = 2 * REPLICAS
_TIMEOUT_S: Final = 120.0


class RealPool:
    """A running pool and the process that calls it."""

    def __init__(self, player: Any, pool: Any) -> None:
        self._player = player
        self._pool = pool

    def play(self, dues: Sequence[Due], *, way: str = "routed") -> list[Played]:
        """What became of these calls, in their order."""
        played: list[Played] = self._player.play.remote(way, dues).result(timeout_s=_TIMEOUT_S)
        return played

    def capacity_per_s(self, *, seconds: float = _BUSY_S) -> float:
        """Answers a second while no replica is ever without work, and few calls wait."""
        return sum(call.met for call in self._busy(_CALLERS, seconds)) / seconds

    def idle_ms(self) -> float:
        """Median time of a call while there is no other."""
        return percentile([call.elapsed_ms for call in self._busy(1, _WARM_UP_S)], 50)

    def hedging(self, *, allowed: bool) -> None:
        """Whether second calls are made beside late ones from now on."""
        self._player.hedging.remote(allowed=allowed).result(timeout_s=_TIMEOUT_S)

    def pid(self) -> int:
        """The process of one of the replicas."""
        said: dict[str, Any] = self._pool.process.remote().result(timeout_s=_TIMEOUT_S)
        return int(said["pid"])

    def _busy(self, callers: int, seconds: float) -> list[Played]:
        asked = {"callers": callers, "seconds": seconds, "budget_ms": AMPLE_MS}
        played: list[Played] = self._player.busy.remote(**asked).result(timeout_s=_TIMEOUT_S)
        if not any(call.met for call in played):
            raise VoidRunError(f"no call was answered, but ended with {played[-1].outcome}")
        return played


@contextmanager
def real_pool(
    *, load: LoadConfig | None = None, profile: str = "performance_optimized"
) -> Iterator[RealPool]:
    """A pool that has answered for some seconds, ended with the block. `load`: what its caller believes."""
    settings = load_settings()
    repository = str(resolved(settings.repository))
    config = PlayerConfig(
        pool=_POOL,
        repository=repository,
        model=MODEL,
        rows=ROWS,
        profiles=read_text(settings.profiles),
        profile=profile,
        load=load or LoadConfig(),
    )
    pool = PoolConfig(name=_POOL, repository=repository, models=(MODEL,), replicas=REPLICAS, slots=1)
    print("  real run: starting", flush=True)
    with serving({pool_app(_POOL): build_pool(pool), _PLAYER: build_player(config, _PLAYER)}) as handles:
        running = RealPool(handles[_PLAYER], handles[pool_app(_POOL)])
        running.capacity_per_s(seconds=_WARM_UP_S)
        yield running


def arrivals(rng: Random, rates_per_s: Sequence[float], *, step_s: float) -> Iterator[float]:
    """Seconds at which calls are due: by chance, at each of the rates for `step_s`."""
    for number, rate_per_s in enumerate(rates_per_s):
        at_s, end_s = number * step_s, (number + 1) * step_s
        while (at_s := at_s + rng.expovariate(rate_per_s)) < end_s:
            yield at_s


def lag_p99_ms(played: Sequence[Played]) -> float:
    """How late calls were made at p99: the lag of the process that makes them."""
    return percentile([call.late_ms for call in played], 99)


@contextmanager
def standing_still(pid: int, *, for_s: float, every_s: float) -> Iterator[None]:
    """Within the block the process stands still for the last `for_s` of every `every_s`; then it runs."""
    ended = Event()
    stopping = Thread(target=_stop_and_go, args=(pid, for_s, every_s, ended))
    stopping.start()
    try:
        yield
    finally:
        ended.set()
        stopping.join()


def _stop_and_go(pid: int, for_s: float, every_s: float, ended: Event) -> None:
    while not ended.wait(every_s - for_s):
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(for_s)
        finally:
            os.kill(pid, signal.SIGCONT)
