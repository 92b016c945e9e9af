"""Puts the gateway's services together inside a replica: connections first, then what stands on them."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from random import SystemRandom

from deployments.front.callers import callers_of
from deployments.front.denials import DenialLog
from deployments.front.halts import HaltDesk
from deployments.front.limits import RateLimiter
from deployments.front.metering import UsageMeter
from deployments.front.opening import open_access
from deployments.front.subscriptions import SubscriptionReader, SubscriptionWriter
from deployments.front.user_signals import UserSignals
from deployments.gateway.backfill import SignalBackfill
from deployments.gateway.config import GatewayConfig
from deployments.gateway.decisions import DecisionLog
from deployments.gateway.health import Health, Readiness
from deployments.gateway.last_good import LastGoodAnswers
from deployments.gateway.markets import Markets
from deployments.gateway.model_desk import ServeModelDesk
from deployments.gateway.probes import Probes
from deployments.gateway.services import Services
from deployments.gateway.user_events import UserEvents
from deployments.router.late_meter import LateMeter
from deployments.router.meter import RayMeter
from deployments.router.opening import Routing
from messaging.connect import make_broadcast, open_bus, open_feed
from messaging.event_marks import EventMarks
from messaging.marks import SignalMarks
from messaging.ports import Broadcast, EventBus, MarketFeed
from messaging.publisher import Publisher
from models.garbage import spare_collections
from models.metrics import Meter
from storage.memory import MemoryFastStore
from storage.ports import FastStore
from storage.redis_store import RedisFastStore


@dataclass(frozen=True, slots=True)
class Connections:
    """What the gateway talks to."""

    bus: EventBus
    feed: MarketFeed
    broadcast: Broadcast
    store: FastStore


class OpenGateway:
    """The services of one replica, the tasks behind them, and how all of it is closed again."""

    def __init__(self, services: Services, routing: Routing, stack: AsyncExitStack) -> None:
        self.services = services
        self._routing = routing
        self._stack = stack
        self._tasks = [
            asyncio.create_task(services.decisions.run()),
            asyncio.create_task(services.usage.run()),
            asyncio.create_task(services.denials.run()),
        ]

    def check(self) -> None:
        """Raises what ended one of the tasks for good."""
        self._routing.check()
        for task in self._tasks:
            if task.done():
                task.result()

    async def close(self) -> None:
        """Stop the tasks, then close the connections, the last opened first."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()


async def open_gateway(config: GatewayConfig, *, name: str) -> OpenGateway:
    """Connect and start. ConfigError for a weak secret, BrokerUnavailable for a broker that is not there."""
    callers_of([config.tokens], None)  # a weak secret is refused before anything is connected
    meter, rng = LateMeter(RayMeter()), SystemRandom()
    async with AsyncExitStack() as stack:
        stack.callback(meter.flush)
        to = await _connect(config, stack, name=name, meter=meter)
        routing = Routing(config.router, to.bus, room="gateway", clock=time.time_ns, rng=rng, meter=meter)
        routing.open()
        stack.push_async_callback(routing.close)
        denials = DenialLog(
            to.bus,
            name=f"gateway-{name}",
            clock=time.time_ns,
            monotonic=time.monotonic,
            rng=rng,
            meter=meter,
        )
        stack.push_async_callback(denials.close)
        access = await open_access(config.access, to.bus, stack, denials=denials, clock=time.time_ns, rng=rng)
        limiter = RateLimiter(
            access.limits, shared=to.store, local=MemoryFastStore(time.time_ns), gateways=config.replicas
        )
        writer = SubscriptionWriter(to.bus)
        stack.push_async_callback(writer.close)
        halts = HaltDesk(to.bus, to.broadcast)
        stack.push_async_callback(halts.close)
        publisher = await Publisher.open(to.bus, name="gateway", meter=meter)
        stack.push_async_callback(publisher.close)
        marks = EventMarks(to.bus)
        services = Services(
            tokens=access.callers,
            tenants=access.view,
            limiter=limiter,
            router=routing.client,
            markets=Markets(to.feed, config.strategies),
            last_good=LastGoodAnswers(to.store, time.time_ns),
            decisions=DecisionLog(store=to.store, bus=to.bus, meter=meter),
            recorder=routing.recorder,
            observer=routing.observer,
            subscriptions=writer,
            subscribed=SubscriptionReader(to.bus),
            backfill=SignalBackfill(to.bus, UserSignals(to.bus, SignalMarks(to.bus))),
            events=UserEvents(to.bus, publisher, marks, clock=time.time_ns, rng=rng, meter=meter),
            halts=halts,
            health=_health(config, to, routing, limiter=limiter, publisher=publisher),
            models=ServeModelDesk(),
            strategies={strategy.ref: strategy for strategy in config.strategies},
            usage=UsageMeter(to.bus, name=f"gateway-{name}", clock=time.time_ns, rng=rng, meter=meter),
            denials=denials,
            meter=meter,
            clock=time.time_ns,
            monotonic=time.monotonic,
            rng=rng,
            gateway=name,
            public_docs=config.public_docs,
            max_body_bytes=config.max_body_bytes,
            body_timeout_s=config.body_timeout_s,
        )
        stack.push_async_callback(services.usage.close)
        spare_collections()
        return OpenGateway(services, routing, stack.pop_all())


async def _connect(config: GatewayConfig, stack: AsyncExitStack, *, name: str, meter: Meter) -> Connections:
    bus = await open_bus(config.kafka, client_id=f"gateway-{name}", meter=meter)
    stack.push_async_callback(bus.close)
    feed = await open_feed(config.nats, name=f"gateway-{name}", meter=meter)
    stack.push_async_callback(feed.close)
    broadcast = make_broadcast(config.nats, name=f"gateway-{name}-control", meter=meter)
    stack.push_async_callback(broadcast.close)
    store = RedisFastStore(config.redis)
    stack.push_async_callback(store.close)
    return Connections(bus, feed, broadcast, store)


def _health(
    config: GatewayConfig, to: Connections, routing: Routing, *, limiter: RateLimiter, publisher: Publisher
) -> Health:
    readiness = Readiness(
        pools_seen=lambda: routing.pools.ready,
        catalogue_read=lambda: routing.tail.complete and len(routing.client.catalogue.cards) > 0,
    )
    probes = Probes(
        bus=to.bus,
        feed=to.feed,
        store=to.store,
        routing=routing,
        pools=config.router.pools,
        limiter=limiter,
        publisher=publisher,
        clock_error_ns=config.clock_error_ns,
    )
    return Health(bus=to.bus, readiness=readiness, probes=probes.by_name())
