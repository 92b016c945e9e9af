"""Makes the app of one replica, with the connections and the follower behind it."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from random import SystemRandom

from deployments.front.limits import RateLimiter
from deployments.front.tokens import TokenVerifier
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
from messaging.connect import open_bus
from messaging.marks import SignalMarks
from messaging.topics import SIGNAL_STATE, SIGNALS, check_topics
from storage.memory import MemoryFastStore
from storage.redis_store import RedisFastStore


class OpenStream:
    """The app, the task that follows the log, and how all of it is closed again."""

    def __init__(self, app: StreamApp, following: asyncio.Task[None], stack: AsyncExitStack) -> None:
        self.app = app
        self._following = following
        self._stack = stack

    def check(self) -> None:
        """Raises what ended the follower for good."""
        if self._following.done():
            self._following.result()

    async def close(self) -> None:
        """End the sockets that are left, stop following, and give the connections back."""
        self.app.leave()
        self._following.cancel()
        await asyncio.gather(self._following, return_exceptions=True)
        await self._stack.aclose()


async def open_stream(config: StreamConfig, *, name: str) -> OpenStream:
    """Connect, and begin to follow. ConfigError for a weak secret, TopicMismatch for foreign topics."""
    tokens = TokenVerifier(config.tokens)
    meter, rng, switchboard = LateMeter(RayMeter()), SystemRandom(), Switchboard()
    async with AsyncExitStack() as stack:
        stack.callback(meter.flush)
        bus = await open_bus(config.kafka, client_id=f"stream-{name}", meter=meter)
        stack.push_async_callback(bus.close)
        await check_topics(bus, (SIGNALS, SIGNAL_STATE))
        store = RedisFastStore(config.redis)
        stack.push_async_callback(store.close)
        follower = Follower(bus, switchboard, rng=rng)
        following: asyncio.Task[None] = asyncio.create_task(follower.run())
        await follower.ready.wait()
        limiter = RateLimiter(
            config.tiers, shared=store, local=MemoryFastStore(time.time_ns), gateways=config.replicas
        )
        sources = Sources(follower, UserSignals(bus, SignalMarks(bus)), rng, config.session.page)
        app = StreamApp(
            Entrance(tokens, limiter, time.time_ns),
            SocketLimits(config.tiers, replicas=config.replicas),
            switchboard,
            Tools(sources, tokens, meter, time.time_ns, config.session),
        )
        return OpenStream(app, following, stack.pop_all())
