"""What can happen to the workers of a role. Serve replaces a dead one; here the script does."""

from __future__ import annotations

from random import Random

from tests.support.scene.crew import Role
from tests.support.scene.faults.brokers import BEGIN_S
from tests.support.scene.scene import Scene, Script

IN_A_BATCH_S = 0.05
"""How long a slot takes from its bar's close to its acknowledgements, about."""


def killed(role: Role, times: int, *, every_s: float) -> Script:
    """One worker after the other dies while a slot is on its way, and is replaced."""

    async def script(scene: Scene) -> None:
        rng = Random(times)
        await scene.go_on(BEGIN_S)
        for _ in range(times):
            victim = scene.crew.busiest(role)
            await scene.go_on(scene.market.next_due_s() + rng.uniform(0, IN_A_BATCH_S))
            scene.crew.kill(victim)
            scene.mended()
            scene.crew.recruit(role)
            await scene.go_on(every_s)

    return script


def frozen(role: Role, seconds: float) -> Script:
    """A worker stands still for so long and then goes on, believing what it believed."""

    async def script(scene: Scene) -> None:
        await scene.go_on(BEGIN_S)
        victim = scene.crew.busiest(role)
        scene.crew.freeze(victim)
        await scene.go_on(seconds)
        scene.crew.thaw(victim)
        scene.mended()

    return script


def scaled(role: Role) -> Script:
    """One worker, then three, then one again, and not the one that began."""

    async def script(scene: Scene) -> None:
        await scene.go_on(BEGIN_S)
        leaving = [*scene.crew.of(role), scene.crew.recruit(role)]
        scene.crew.recruit(role)
        await scene.ready()
        await scene.go_on(BEGIN_S)
        for name in leaving:
            scene.crew.stop(name)
            scene.mended()
            await scene.go_on(BEGIN_S)

    return script


def shared_by_three(role: Role, bar_s: float) -> Script:
    """One worker gets two others to share with; later one hands over, and one dies during a slot."""

    async def script(scene: Scene) -> None:
        await scene.go_on(bar_s)
        first = scene.crew.of(role)[0]
        for _ in range(2):
            scene.crew.recruit(role)
        await scene.ready()
        await scene.go_on(2 * bar_s)
        scene.crew.recruit(role)
        await scene.ready()
        scene.crew.stop(first)
        await scene.go_on(2 * bar_s)
        victim = scene.crew.busiest(role)
        await scene.go_on(scene.market.next_due_s() + IN_A_BATCH_S)
        scene.crew.kill(victim)
        scene.mended()
        scene.crew.recruit(role)

    return script


def stopped(role: Role) -> Script:
    """A worker is asked to end, when a newcomer stands ready to take its place."""

    async def script(scene: Scene) -> None:
        leaving = scene.crew.of(role)[0]
        scene.crew.recruit(role)
        await scene.ready()
        await scene.go_on(BEGIN_S)
        scene.crew.stop(leaving)
        scene.mended()

    return script
