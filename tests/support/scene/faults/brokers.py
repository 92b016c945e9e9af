"""What can happen to brokers."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path

from serve_app.servers.process import ServerProcess
from tests.support.eventually import eventually
from tests.support.scene.scene import Scene, Script

BEGIN_S = 4.0
"""For so long nothing happens first."""
WHOLE_S = 60.0


def leaders_killed(seconds: float, *, every_s: float) -> Script:
    """The node that leads most is killed and started again at once; the next as soon as every copy is whole,
    but not within `every_s`: two of three gone at once is more than three are for.
    """

    async def script(scene: Scene) -> None:
        await scene.go_on(BEGIN_S)
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            await eventually(partial(asyncio.to_thread, scene.brokers.whole), WHOLE_S)
            victim = await asyncio.to_thread(scene.brokers.busiest)
            assert victim
            await asyncio.to_thread(victim.kill)
            scene.mended()
            victim.start()
            await scene.go_on(every_s)

    return script


def leader_frozen(seconds: float) -> Script:
    """The node that leads most stands still for so long."""

    async def script(scene: Scene) -> None:
        await scene.go_on(BEGIN_S)
        victim = await asyncio.to_thread(scene.brokers.busiest)
        assert victim
        victim.freeze()
        await scene.go_on(seconds)
        victim.thaw()
        scene.mended()

    return script


def all_down(seconds: float) -> Script:
    """Every node is killed, and started again after so long."""

    async def script(scene: Scene) -> None:
        await scene.go_on(BEGIN_S)
        nodes = list(scene.brokers.nodes.values())
        await asyncio.gather(*(asyncio.to_thread(node.kill) for node in nodes))
        await scene.go_on(seconds)
        await _started(nodes)
        scene.mended()

    return script


def disk_full(disk: Path, seconds: float) -> Script:
    """The disk of node 1 fills up; after so long there is room again, and the node is started if it ended."""

    async def script(scene: Scene) -> None:
        await scene.go_on(BEGIN_S)
        ballast = disk / "ballast"
        await asyncio.to_thread(_fill, ballast)
        await scene.go_on(seconds)
        ballast.unlink()
        await _started([scene.brokers.nodes[1]])
        scene.mended()

    return script


async def _started(nodes: list[ServerProcess]) -> None:
    for node in nodes:
        node.start()
    for node in nodes:
        await asyncio.to_thread(node.wait_ready, WHOLE_S)


def _fill(file: Path) -> None:
    """Write until there is no room left."""
    with file.open("wb", buffering=0) as ballast:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    ballast.write(bytes(size))
            except OSError:
                continue
