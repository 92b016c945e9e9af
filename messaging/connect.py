"""From configuration to a connected bus or feed: what the composition root calls."""

from __future__ import annotations

from messaging.config import KafkaConfig, NatsConfig
from messaging.kafka import KafkaBus
from messaging.kafka.quiet import keep_quiet
from messaging.nats import NatsBroadcast, NatsFeed
from messaging.ports import Broadcast, EventBus, MarketFeed
from models.metrics import Meter


async def open_bus(config: KafkaConfig, *, client_id: str, meter: Meter | None = None) -> EventBus:
    """A bus whose cluster has answered; BrokerUnavailable names the address if it does not. What the cluster
    denies is counted on the meter.
    """
    keep_quiet()
    bus = KafkaBus(config, client_id, meter)
    try:
        await bus.ping(timeout_s=config.request_timeout_ms / 1000)
    except BaseException:
        await bus.close()
        raise
    return bus


async def open_feed(
    config: NatsConfig, *, name: str, meter: Meter | None = None, reads: bool = True
) -> MarketFeed:
    """A feed with its streams in place; BrokerUnavailable names the servers if none answers. Who only
    publishes has no right to make streams, and leaves them to those who read.
    """
    feed = NatsFeed(config, name, meter)
    try:
        await feed.start(reads=reads)
    except BaseException:
        await feed.close()
        raise
    return feed


def make_broadcast(config: NatsConfig, *, name: str, meter: Meter | None = None) -> Broadcast:
    """A broadcast that connects when it is first used, and again whenever NATS comes back."""
    return NatsBroadcast(config, name, meter)
