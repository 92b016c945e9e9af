"""Ten minutes of the whole signal path at 1,000 users: what does each process hold at the end?

The hub as `hub up` starts it, on Apache Kafka, with real ticks and the strategies of `config/`.
Every process below this one is looked at every few seconds. Its growth is its mean in the last minute over
that in the second; the first minute is for growing up. `rss_growth` is the worst of the hub's own processes.
The servers stand beside it: a JVM takes the heap it was given, and NATS keeps ten minutes of ticks, so that
both grow as they were told to until then.

`SOAK_MINUTES` makes it shorter: then the second and the last tenth are compared. The whole takes the minutes
and the start of a hub; start it where that is allowed to take a minute or two more.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Final

from benchmarks.harness import Benchmark, Report, VoidRunError
from benchmarks.resident import Resident
from deployments.front.subscriptions import SubscriptionWriter
from messaging.connect import open_bus, open_feed
from models.task import WINDOW
from serve_app.demo.scene import DemoOptions, Scene
from serve_app.hub import LocalHub
from serve_app.launch import local_settings, topics_ready
from serve_app.local_stack import LocalStack
from serve_app.playback import Progress, history, play, seed_history
from serve_app.settings import HubSettings
from tests.support.demo_users import made_up_users

MINUTES: Final = float(os.environ.get("SOAK_MINUTES", "10"))
USERS: Final = 1_000
INTERVAL_S: Final = 0.6
"""From one bar's close to the next. So the example ticks last for eleven minutes."""
SERVERS: Final = frozenset({"kafka", "nats", "valkey"})
_SAMPLE_S: Final = 2.0
_DAY_NS: Final = 86_400 * 10**9


def run(report: Report) -> None:
    """Start the hub, play, and look at every process meanwhile."""
    seconds = 60 * MINUTES
    scene = Scene.of(DemoOptions(seconds=seconds, users=USERS, speed=10 / INTERVAL_S, broker="kafka"))
    with LocalStack(broker="kafka", progress=_tell) as stack:
        settings = local_settings(stack, "kafka")
        topics_ready(settings, create=True)
        asyncio.run(_seed(settings, scene))
        hub = LocalHub(settings, dashboard=True, progress=lambda _: None)
        try:
            hub.start()
            hub.wait_for_owners()
            _tell(f"playing ticks for {scene.plan.seconds:.0f} s")
            resident = asyncio.run(_play(settings, scene))
            _signals(report, [status["counters"] for status in hub.owners("Fanout")])
        finally:
            hub.stop()
    _growth(report, resident, scene.plan.seconds)


async def _seed(settings: HubSettings, scene: Scene) -> None:
    async with AsyncExitStack() as stack:
        bus = await open_bus(settings.kafka, client_id="benchmark")
        stack.push_async_callback(bus.close)
        feed = await open_feed(settings.nats, name="benchmark")
        stack.push_async_callback(feed.close)
        await seed_history(feed, history(scene.files, scene.plan), keep=WINDOW + 1)
        until_ns = time.time_ns() + _DAY_NS
        await SubscriptionWriter(bus).put_many(
            scene.subscriptions(made_up_users(USERS), entitled_until_ns=until_ns)
        )


async def _play(settings: HubSettings, scene: Scene) -> Resident:
    resident = Resident()
    feed = await open_feed(settings.nats, name="benchmark-playback")
    watching = asyncio.create_task(_watch(resident))
    try:
        session = f"soak-{time.time_ns():x}"
        await play(feed, scene.files, scene.plan, session=session, clock=time.time_ns, progress=Progress())
    finally:
        watching.cancel()
        await feed.close()
    return resident


async def _watch(resident: Resident) -> None:
    began = time.monotonic()
    while True:
        await asyncio.to_thread(resident.sample, time.monotonic() - began)
        await asyncio.sleep(_SAMPLE_S)


def _signals(report: Report, counters: list[Mapping[str, float]]) -> None:
    """What the path did meanwhile: memory that was not asked for is no figure."""
    signals = sum(one.get("signals", 0) for one in counters)
    if not signals:
        raise VoidRunError("no signal was delivered")
    undelivered = sum(
        value for one in counters for name, value in one.items() if name.startswith("undelivered")
    )
    report.add("signals", signals, "signals acknowledged by Kafka")
    report.add("undelivered", undelivered, "slots of a partition recorded as undelivered")


def _growth(report: Report, resident: Resident, seconds: float) -> None:
    tenth = seconds / 10
    late = (9 * tenth, float("inf"))
    growth, held = resident.growth((tenth, 2 * tenth), late), resident.held_mb(late)
    for name, times in growth.items():
        report.add(f"growth_{name}", times, f"x, memory of {name}, last over second minute")
        report.add(f"mb_{name}", held[name], f"MB, {name} in the last minute, all of that name")
    ours = {name: times for name, times in growth.items() if name not in SERVERS}
    worst = max(ours, key=lambda name: ours[name])
    report.add("rss_growth", ours[worst], f"x, the worst of the hub's processes: {worst} (aim <= 1.1)")
    report.add("mb_all", sum(held.values()), "MB, all processes together in the last minute")


def _tell(line: str) -> None:
    print(f"  {line}", flush=True)


BENCHMARK: Final = Benchmark(
    name="soak",
    question="Does any process hold more memory after ten minutes of signals to 1,000 users than after two?",
    run=run,
    timed=False,
)
