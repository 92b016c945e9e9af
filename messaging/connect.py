"""From configuration to a connected bus or feed: what the composition root calls."""

from __future__ import annotations

from messaging.config import KafkaConfig, NatsConfig
from messaging.kafka import KafkaBus
from messaging.nats import NatsBroadcast, NatsFeed
from messaging.ports import Broadcast, EventBus, MarketFeed


async def open_bus(config: KafkaConfig, *, client_id: str) -> EventBus:
    """A bus whose cluster has answered; BrokerUnavailable names the address if it does not."""
    bus = KafkaBus(config, client_id)
    try:
        await bus.ping(timeout_s=config.request_timeout_ms / 1000)
    except BaseException:
        await bus.close()
        raise
    return bus


async def open_feed(config: NatsConfig, *, name: str) -> MarketFeed:
    """A feed with its streams in place; BrokerUnavailable names the servers if none answers."""
    feed = NatsFeed(config, name)
    try:
        await feed.start()
    except BaseException:
        await feed.close()
        raise
    return feed


def make_broadcast(config: NatsConfig, *, name: str) -> Broadcast:
    """A broadcast that connects when it is first used, and again whenever NATS comes back."""
    return NatsBroadcast(config, name)
