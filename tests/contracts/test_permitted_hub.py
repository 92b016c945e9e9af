"""The hub's services at work, each as its own principal: what they may do is enough for all they do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from random import SystemRandom
from typing import Any

import pytest

from deployments.fanout.config import WorkerConfig as FanoutTimings
from deployments.fanout.worker import FanoutWorker
from deployments.forecaster.config import WorkerConfig as ForecastTimings
from deployments.forecaster.worker import ForecastWorker
from deployments.front.subscriptions import SubscriptionReader, SubscriptionWriter
from deployments.front.user_signals import UserSignals
from deployments.gateway.backfill import SignalBackfill
from deployments.registry.worker import RegistryWorker
from deployments.router.catalogue_fold import CatalogueFold
from messaging.connect import open_bus, open_feed
from messaging.marks import SignalMarks
from messaging.ports import EventBus, MarketFeed
from messaging.principals import COLLECTOR, OPERATOR, ROOMS
from messaging.topics import MODELS, TOPICS, check_topics, create_topics
from models.errors import ConfigError
from models.market import MarketClock
from models.metrics import MemoryMeter
from models.principal import Principal, Tier
from models.subscription import Subscription
from models.task import WINDOW
from serve_app.servers.process import ServerProcess
from tests.conftest import without_kafka
from tests.support.cards import a_card
from tests.support.certificate import Certificate
from tests.support.eventually import eventually
from tests.support.permitted_kafka import PermittedKafka, permitted_kafka
from tests.support.permitted_nats import PermittedNats, permitted_nats
from tests.unit.forecaster.scene import BAR_MS, START_MS, ScriptedRouter, bar, strategy
from tests.unit.registry.test_worker import Checked

pytestmark = [pytest.mark.kafka, pytest.mark.nats]

USER = Principal(
    user_id="ada",
    tenant_id="acme",
    tier=Tier.PRO,
    roles=frozenset({"tenant:trader"}),
    entitled_until_ns=2**62,
)
WITHIN_S = 60.0


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PermittedKafka, PermittedNats]]:
    """Both, with the printed rules in force and no topic."""
    directory = tmp_path_factory.mktemp("permitted")
    certificate = Certificate(directory)
    try:
        kafka = permitted_kafka(directory, certificate)
    except ConfigError as error:
        without_kafka(error.message)
        raise
    feed = permitted_nats(directory, certificate)
    servers: tuple[ServerProcess, ...] = (kafka.server, feed.server)
    for server in servers:
        server.start()
    try:
        for server in servers:
            server.wait_ready()
        kafka.admit()
        yield kafka, feed
    finally:
        for server in servers:
            server.stop()


@dataclass
class Rooms:
    """Opens connections as one principal or another, runs workers, and ends all of it."""

    kafka: PermittedKafka
    nats: PermittedNats
    stack: AsyncExitStack
    meter: MemoryMeter = field(default_factory=MemoryMeter)

    async def bus(self, principal: str) -> EventBus:
        bus = await open_bus(self.kafka.config(principal), client_id=principal, meter=self.meter)
        self.stack.push_async_callback(bus.close)
        return bus

    async def feed(self, principal: str, *, reads: bool = True) -> MarketFeed:
        feed = await open_feed(self.nats.config(principal), name=principal, meter=self.meter, reads=reads)
        self.stack.push_async_callback(feed.close)
        return feed

    def run(self, work: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(work)
        self.stack.push_async_callback(_ended, task)

    @property
    def common(self) -> dict[str, Any]:
        """What every worker takes."""
        return {"clock": time.time_ns, "rng": SystemRandom(), "meter": self.meter}


async def _ended(task: asyncio.Future[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def rooms(brokers: tuple[PermittedKafka, PermittedNats]) -> AsyncIterator[Rooms]:
    """Nothing runs yet."""
    async with AsyncExitStack() as stack:
        yield Rooms(*brokers, stack)


async def test_ticks_become_signals_and_nothing_is_denied(
    brokers: tuple[PermittedKafka, PermittedNats],
) -> None:
    """The operator makes the topics; registry, forecaster, fan-out, gateway and collector do the rest."""
    async with rooms(brokers) as hub:
        operator = await hub.bus(OPERATOR.principal)
        assert len(await create_topics(operator, 1)) == len(TOPICS)
        assert await check_topics(operator) == []
        gateway = await hub.bus(ROOMS["gateway"].principal)
        await _registry(hub)
        assert await eventually(lambda: _models(gateway), WITHIN_S) == ["m@1"]

        await _subscribed(gateway)
        forecaster, fanout = await _forecaster(hub), await _fanout(hub)
        collector = await hub.feed(COLLECTOR.principal, reads=False)
        await _history(collector)
        await eventually(lambda: forecaster.ready and fanout.ready, WITHIN_S)
        await _tells(collector, START_MS)
        await _tells(collector, START_MS + BAR_MS)
        (signal,) = await eventually(lambda: _signals(gateway), WITHIN_S)

    assert (signal.user_id, signal.symbol) == ("ada", "EURUSD")
    assert {name for name, _ in hub.meter.values} & {"hub_denied_total"} == set()


async def _registry(hub: Rooms) -> None:
    bus = await hub.bus(ROOMS["registry"].principal)
    hub.run(RegistryWorker(bus, Checked([a_card("m")]), name="r", **hub.common).run())


async def _models(gateway: EventBus) -> list[str]:
    """The catalogue as the gateway folds it."""
    fold = CatalogueFold()
    first, end = await gateway.bounds(MODELS.name, 0)
    async for records in gateway.read(MODELS.name, 0, first, end):
        fold.take_all(records)
    return [str(card.key) for card in fold.cards]


async def _subscribed(gateway: EventBus) -> None:
    writer, reader = SubscriptionWriter(gateway), SubscriptionReader(gateway)
    one = Subscription(
        user_id=USER.user_id,
        tenant_id=USER.tenant_id,
        account_id="main",
        strategy="alpha@1",
        symbol="EURUSD",
        tier=USER.tier,
        entitled_until_ns=USER.entitled_until_ns,
    )
    await writer.put(one)
    assert await reader.of(USER) == [one]
    await writer.close()


async def _forecaster(hub: Rooms) -> ForecastWorker:
    principal = ROOMS["forecaster"].principal
    worker = ForecastWorker(
        await hub.bus(principal),
        await hub.feed(principal),
        ScriptedRouter(),
        [strategy()],
        config=ForecastTimings(name="f"),
        **hub.common,
    )
    hub.run(worker.run())
    return worker


async def _fanout(hub: Rooms) -> FanoutWorker:
    bus = await hub.bus(ROOMS["fanout"].principal)
    worker = FanoutWorker(bus, [strategy()], config=FanoutTimings(name="u", checkpoint_s=0.5), **hub.common)
    hub.run(worker.run())
    return worker


async def _history(collector: MarketFeed) -> None:
    for index in range(WINDOW + 1):
        close_ms = START_MS - (WINDOW - index) * BAR_MS
        await collector.put_bar(bar("EURUSD", close_ms, 1.1 + index % 7 * 1e-4), after=None)


async def _tells(collector: MarketFeed, now_ms: int) -> None:
    await collector.publish_clock(MarketClock(now_ms, "s1", time.time_ns(), {}))


async def _signals(gateway: EventBus) -> list[Any]:
    backfill = SignalBackfill(gateway, UserSignals(gateway, SignalMarks(gateway)))
    page = await backfill.since(USER, since_seq=0, limit=10)
    return list(page.signals)
