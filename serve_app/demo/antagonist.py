"""The antagonist of `hub demo --antagonist`: slows the busiest replica for a third of the playback."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from ray import serve

from deployments.router.names import pool_app
from serve_app.demo.reaction import Slowing
from serve_app.demo.table import View
from serve_app.wiring import APP

_THROTTLE: Final = Path(__file__).with_name("throttle.py")
_LOOK_EVERY_S: Final = 0.2


class Victim(NamedTuple):
    """A replica of a pool, and its process on this machine."""

    replica: str
    pool: str
    pid: int


async def antagonise(view: View, pools: Sequence[str], seconds: float) -> Slowing | None:
    """Let a third of the playback pass, slow the replica with most picks for a third, and let it go.

    The view tells which one is slowed. None if no replica that runs had been picked by two thirds.
    """
    loop = asyncio.get_running_loop()
    begins_s, ends_s = (loop.time() + seconds * part for part in (1 / 3, 2 / 3))
    try:
        async with asyncio.timeout_at(ends_s):
            known = await asyncio.to_thread(_running, pools)
            await asyncio.sleep(begins_s - loop.time())
            victim = await _found(view, pools, known)
    except TimeoutError:
        return None
    async with throttled(victim, view):
        from_ns = time.time_ns()
        await asyncio.sleep(ends_s - loop.time())
    return Slowing(victim.replica, victim.pool, from_ns, time.time_ns())


async def _found(view: View, pools: Sequence[str], known: Sequence[Victim]) -> Victim:
    """The replica with most picks so far, as soon as there is one; those not known yet are asked for."""
    while True:
        running = {one.replica: one for one in known}
        picked = [name for name, _ in busiest(view.live.get("picks", {})) if name in running]
        if picked:
            return running[picked[0]]
        await asyncio.sleep(_LOOK_EVERY_S)
        known = await asyncio.to_thread(_running, pools)


def busiest(picks: Mapping[str, Mapping[str, int]]) -> list[tuple[str, int]]:
    """Replicas and their picks over all models, the most picked first."""
    counts: Counter[str] = Counter()
    for replicas in picks.values():
        counts.update(replicas)
    return counts.most_common()


def _running(pools: Sequence[str]) -> list[Victim]:
    """What each replica of the pools says of itself."""
    found: list[Victim] = []
    for pool in pools:
        said = serve.get_deployment_handle(pool_app(pool), APP).broadcast("process").results(timeout_s=5)
        found += [Victim(one["replica"], pool, one["pid"]) for one in said if isinstance(one, dict)]
    return found


@asynccontextmanager
async def throttled(victim: Victim, view: View) -> AsyncIterator[None]:
    """Slow the victim while the block runs; after it the victim runs, whatever happened."""
    throttle = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", str(_THROTTLE), str(victim.pid), stdin=PIPE
    )
    view.victim, view.slowed = victim.replica, True
    try:
        yield
    finally:
        view.slowed = False
        assert throttle.stdin is not None  # noqa: S101 - started with a pipe
        throttle.stdin.close()
        try:
            await throttle.wait()
        finally:
            with suppress(ProcessLookupError):
                os.kill(victim.pid, signal.SIGCONT)
