"""Makes the app of one replica, with the connections and the follower behind it."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from random import SystemRandom

from deployments.front.callers import callers_of
from deployments.front.denials import DenialLog
from deployments.front.limits import RateLimiter
from deployments.front.metering import UsageMeter
from deployments.front.opening import open_access
from deployments.front.user_signals import UserSignals
from deployments.router.late_meter import LateMeter
from deployments.router.meter import RayMeter
from deployments.stream.app import StreamApp
from deployments.stream.config import StreamConfig
from deployments.stream.entrance import Entrance
from deployments.stream.follower import Follower
from deployments.stream.owed import Sources
from deployments.stream.session import Tools
from deployments.stream.switchboard import SocketLimits, Switchboard
from deployments.stream.watch import StandingWatch
from messaging.connect import open_bus
from messaging.marks import SignalMarks
from messaging.topics import SIGNAL_STATE, SIGNALS, check_topics
from storage.memory import MemoryFastStore
from storage.redis_store import RedisFastStore


class OpenStream:
    """The app, the tasks beside it, and how all of it is closed again."""

    def __init__(self, app: StreamApp, tasks: list[asyncio.Task[None]], stack: AsyncExitStack) -> None:
        self.app = app
        self._tasks = tasks
        self._stack = stack

    def check(self) -> None:
        """Raises what ended one of the tasks for good."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def close(self) -> None:
        """End the sockets that are left, stop following, and give the connections back."""
        self.app.leave()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()


async def open_stream(config: StreamConfig, *, name: str) -> OpenStream:
    """Connect, and begin to follow. ConfigError for a weak secret, TopicMismatch for foreign topics."""
    callers_of([config.tokens], None)  # a weak secret is refused before anything is connected
    meter, rng, switchboard = LateMeter(RayMeter()), SystemRandom(), Switchboard()
    async with AsyncExitStack() as stack:
        stack.callback(meter.flush)
        bus = await open_bus(config.kafka, client_id=f"stream-{name}", meter=meter)
        stack.push_async_callback(bus.close)
        await check_topics(bus, (SIGNALS, SIGNAL_STATE))
        store = RedisFastStore(config.redis)
        stack.push_async_callback(store.close)
        denials = DenialLog(
            bus,
            name=f"stream-{name}",
            clock=time.time_ns,
            monotonic=time.monotonic,
            rng=rng,
            meter=meter,
        )
        stack.push_async_callback(denials.close)
        access = await open_access(config.access, bus, stack, denials=denials, clock=time.time_ns, rng=rng)
        follower = Follower(bus, switchboard, rng=rng)
        following: asyncio.Task[None] = asyncio.create_task(follower.run())
        await follower.ready.wait()
        limiter = RateLimiter(
            access.limits, shared=store, local=MemoryFastStore(time.time_ns), gateways=config.replicas
        )
        usage = UsageMeter(bus, name=f"stream-{name}", clock=time.time_ns, rng=rng, meter=meter)
        stack.push_async_callback(usage.close)
        sources = Sources(follower, UserSignals(bus, SignalMarks(bus)), rng, config.session.page)
        app = StreamApp(
            Entrance(access.callers, limiter, denials, time.time_ns),
            SocketLimits(access.limits, replicas=config.replicas),
            switchboard,
            Tools(sources, access.callers, meter, usage, time.time_ns, config.session),
        )
        tasks = [following, asyncio.create_task(usage.run()), asyncio.create_task(denials.run())]
        if access.tail:
            tasks.append(asyncio.create_task(StandingWatch(access.tail.fold, switchboard).run()))
        return OpenStream(app, tasks, stack.pop_all())
