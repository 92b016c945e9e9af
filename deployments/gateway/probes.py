"""What `GET /health` asks: one method a thing, each answering with a note or raising what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployments.front.limits import RateLimiter
from deployments.gateway.health import CHECK_TIMEOUT_S, Probe
from deployments.gateway.host_clock import clock_says
from deployments.router import load_table
from deployments.router.opening import Routing
from messaging.ports import EventBus, MarketFeed
from messaging.publisher import Publisher
from models.errors import BrokerUnavailable, NothingFeasible, StoreUnavailable
from storage.ports import FastStore


class Probes:
    """Probes of one gateway's connections, of what it knows, and of how it counts."""

    def __init__(
        self,
        *,
        bus: EventBus,
        feed: MarketFeed,
        store: FastStore,
        routing: Routing,
        pools: Sequence[str],
        limiter: RateLimiter,
        publisher: Publisher,
        clock_error_ns: int,
    ) -> None:
        self._bus = bus
        self._feed = feed
        self._store = store
        self._routing = routing
        self._pools = pools
        self._limiter = limiter
        self._publisher = publisher
        self._clock_error_ns = clock_error_ns

    def by_name(self) -> Mapping[str, Probe]:
        return {
            "kafka": self.kafka,
            "nats": self.nats,
            "redis": self.redis,
            "limits": self.limits,
            "publisher": self.publisher,
            "catalogue": self.catalogue,
            "pools": self.pools,
            "clock": self.clock,
        }

    async def kafka(self) -> str:
        await self._bus.ping(timeout_s=CHECK_TIMEOUT_S)
        return ""

    async def nats(self) -> str:
        await self._feed.ping(timeout_s=CHECK_TIMEOUT_S)
        return ""

    async def redis(self) -> str:
        await self._store.ping()
        return ""

    async def limits(self) -> str:
        if self._limiter.counts_locally:
            raise StoreUnavailable("each gateway counts by itself, with its share of the rate")
        return "counted for all gateways together"

    async def publisher(self) -> str:
        lanes = self._publisher.health()
        for priority, lane in lanes.items():
            if lane.unhealthy:
                raise BrokerUnavailable(f"{priority}: {lane.unhealthy}")
        return "; ".join(
            f"{priority}: {sum(lane.depths.values())} pending for {lane.oldest_pending_s:.1f} s,"
            f" {lane.acks_per_s:.0f}/s, {lane.unknown} unknown, {lane.rebuilds} rebuilds"
            for priority, lane in lanes.items()
        )

    async def catalogue(self) -> str:
        copy = self._routing.client.catalogue
        if not copy.cards:
            raise NothingFeasible("no model is in the catalogue")
        return f"{len(copy.cards)} models, version {copy.version}, {self._routing.tail.age_s:.0f} s old"

    async def clock(self) -> str:
        return clock_says(self._clock_error_ns)

    async def pools(self) -> str:
        sizes = {pool: len(load_table.TABLE.replicas(pool)) for pool in self._pools}
        if not all(sizes.values()):
            raise NothingFeasible("a pool has no replica")
        return ", ".join(f"{pool}: {size}" for pool, size in sizes.items())
