"""Ten rolling redeploys of a hub, under ticks and requests: `python -m tests.chaos.redeploys DIRECTORY`.

A program of its own, because a process can be a client of one Ray only. It leaves `result.json`. Every role
has two replicas, so that Serve has one to keep while it replaces the other.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import orjson

from deployments.front.subscriptions import SubscriptionWriter
from messaging.connect import open_bus, open_feed
from models.principal import Tier
from models.task import WINDOW
from serve_app.access import local_token, principal_of
from serve_app.demo.auditor import Auditor
from serve_app.demo.scene import DemoOptions, Scene
from serve_app.launch import Launched, local_settings, running_hub, topics_ready
from serve_app.local_stack import LocalStack
from serve_app.playback import Progress, history, play, seed_history
from serve_app.runfile import recall
from serve_app.settings import HubSettings
from tests.support.demo_users import made_up_users
from tests.support.hub_run import Load
from tests.support.scene.timeline import Timeline, arrivals, schedule

REDEPLOYS: Final = 10
OPTIONS: Final = DemoOptions(seconds=600, users=20, speed=10, broker="kafka")
CALLERS: Final = 2
_DAY_NS: Final = 86_400 * 10**9


def main(directory: Path) -> None:
    """Start everything, play, redeploy, and write down what an independent reader found."""
    scene = Scene.of(OPTIONS)
    with LocalStack(broker="kafka", run_dir=directory) as stack:
        (directory / "strategies.yaml").write_text(scene.strategies_yaml())
        settings = local_settings(
            stack,
            "kafka",
            strategies=str(directory / "strategies.yaml"),
            gateway_replicas=2,
            forecaster_workers=2,
            fanout_workers=2,
        )
        topics_ready(settings, create=True)
        asyncio.run(_seed(settings, scene))
        with running_hub(settings, stack=stack, dashboard=False, progress=_say) as launched:
            result = asyncio.run(_under_load(launched, scene, directory))
    (directory / "result.json").write_bytes(orjson.dumps(result))


async def _seed(settings: HubSettings, scene: Scene) -> None:
    async with AsyncExitStack() as stack:
        bus = await open_bus(settings.kafka, client_id="seed")
        stack.push_async_callback(bus.close)
        feed = await open_feed(settings.nats, name="seed")
        stack.push_async_callback(feed.close)
        await seed_history(feed, history(scene.files, scene.plan), keep=WINDOW + 1)
        until_ns = time.time_ns() + _DAY_NS
        await SubscriptionWriter(bus).put_many(
            scene.subscriptions(made_up_users(OPTIONS.users), entitled_until_ns=until_ns)
        )


async def _under_load(launched: Launched, scene: Scene, directory: Path) -> dict[str, Any]:
    feed = await open_feed(launched.settings.nats, name="playback")
    auditor = await Auditor.start(_audit(launched, directory), lambda _: None)
    load = Load([_token(number) for number in range(CALLERS)], launched.hub.url)
    redeploying = asyncio.create_task(asyncio.to_thread(_redeploys, launched))
    try:
        session = "redeploys"
        await play(feed, scene.files, scene.plan, session=session, clock=time.time_ns, progress=Progress())
        assert redeploying.done(), "the ticks ended before the redeploys"
        took_s = await redeploying
        answers = await asyncio.to_thread(load.end)
        ledger = await auditor.finish()
    finally:
        await auditor.kill()
        await feed.close()
    return {
        "ledger": ledger,
        "took_s": took_s,
        "statuses": Counter(one.status for one in answers),
        "refusals": [one.refusal for one in answers if one.refusal],
        "slowest_s": max(one.took_s for one in answers),
        "silence_s": await _silence_s(launched.settings, scene),
    }


def _redeploys(launched: Launched) -> list[float]:
    """Ten times; how long each took until all of it was healthy and every partition had its owner."""
    took_s = []
    for number in range(1, REDEPLOYS + 1):
        began = time.monotonic()
        launched.hub.deploy()
        launched.hub.wait_for_owners()
        took_s.append(time.monotonic() - began)
        _say(f"redeploy {number} took {took_s[-1]:.0f} s")
    return took_s


async def _silence_s(settings: HubSettings, scene: Scene) -> float:
    """The longest that any user was without a signal in time."""
    bus = await open_bus(settings.kafka, client_id="timeline")
    try:
        found = await arrivals(bus)
    finally:
        await bus.close()
    ttl_ms = max(one.ttl_ms for one in scene.strategies)
    users = sorted({one.user for one in found})
    return Timeline(found, users, schedule(found, speed=OPTIONS.speed), ttl_ms).longest_silence_s()


def _audit(launched: Launched, directory: Path) -> list[str]:
    arguments = ["--kafka", launched.settings.kafka.bootstrap]
    arguments += ["--strategies", str(directory / "strategies.yaml")]
    ticks = [argument for text in OPTIONS.ticks for argument in ("--ticks", text)]
    return [*arguments, *ticks, "--seconds", str(OPTIONS.seconds), "--speed", str(OPTIONS.speed)]


def _token(number: int) -> str:
    return local_token(recall(), principal_of(f"caller-{number}", tenant="tenant-1", tier=Tier.SERVICE))


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - the log of a program


if __name__ == "__main__":
    main(Path(sys.argv[1]))
