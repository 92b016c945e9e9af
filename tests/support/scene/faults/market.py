"""What can happen to NATS and to the market itself."""

from __future__ import annotations

import asyncio

from tests.support.scene.faults.brokers import BEGIN_S
from tests.support.scene.scene import Scene, Script


def killed(seconds: float) -> Script:
    """NATS dies and is started again after so long; the ticks it kept are gone."""

    async def script(scene: Scene) -> None:
        await scene.go_on(BEGIN_S)
        await asyncio.to_thread(scene.nats.kill)
        await scene.go_on(seconds)
        await asyncio.to_thread(scene.nats.restart)
        scene.mended()

    return script


def frozen(seconds: float) -> Script:
    """NATS keeps its connections and says nothing for so long."""

    async def script(scene: Scene) -> None:
        await scene.go_on(BEGIN_S)
        scene.nats.freeze()
        await scene.go_on(seconds)
        scene.nats.thaw()
        scene.mended()

    return script


def burst(times: int, seconds: float) -> Script:
    """For so long each tick comes so many times."""

    async def script(scene: Scene) -> None:
        await scene.go_on(BEGIN_S)
        scene.market.burst = times
        scene.mended()
        await scene.go_on(seconds)
        scene.market.burst = 1

    return script


def one_after_the_other(*scripts: Script) -> Script:
    """Several faults in one scene; recovery counts from the last."""

    async def script(scene: Scene) -> None:
        for each in scripts:
            await each(scene)

    return script
