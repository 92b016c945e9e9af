"""One scene: brokers, NATS, workers, a market and an independent reader; a fault; and what came of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

from deployments.front.subscriptions import SubscriptionWriter
from messaging.config import KafkaConfig
from messaging.connect import open_bus
from messaging.topics import CONTROL, PREDICTIONS, SIGNAL_STATE, SIGNALS, SUBSCRIPTIONS, create_topics
from models.principal import Tier
from models.strategy import ForecastNeeds, Strategy
from models.subscription import Subscription
from serve_app.demo.auditor import Auditor
from serve_app.servers.bundled import nats
from serve_app.servers.process import ServerProcess
from tests.support.eventually import eventually
from tests.support.scene.brokers import Brokers
from tests.support.scene.crew import Crew, Role
from tests.support.scene.market import TICKS, Market
from tests.support.scene.outcome import Outcome, Seen
from tests.support.scene.timeline import Timeline, arrivals
from tests.support.scene.worker import Wires

SPEED: Final = 20.0
"""A bar closes every half second for each of two symbols."""
STRATEGY: Final = Strategy(
    name="alpha",
    version="1",
    symbols=("EURUSD", "NZDUSD"),
    bar_ms=10_000,
    horizon_ms=60_000,
    ttl_ms=4000,
    needs=ForecastNeeds(routing_strategy="performance_optimized", max_latency_ms=500),
)
READY_S: Final = 120.0
_TOPICS: Final = (PREDICTIONS, SUBSCRIPTIONS, SIGNALS, SIGNAL_STATE, CONTROL)
_YEAR_NS: Final = 365 * 86_400 * 10**9

Script = Callable[["Scene"], Awaitable[None]]


@dataclass(frozen=True)
class Cast:
    """Who plays: brokers (1 or 3), workers of each role, users, each of whom subscribes to these symbols;
    `data` as of `KafkaCluster`.
    """

    brokers: int = 1
    forecasters: int = 1
    fanouts: int = 2
    users: int = 30
    symbols: Sequence[str] = STRATEGY.symbols
    speed: float = SPEED
    data: Mapping[int, Path] | None = None


class Scene:
    """Opened by `scene`. A script does what it wants to `brokers`, `nats`, `crew` and `market`."""

    def __init__(self, directory: Path, cast: Cast) -> None:
        strategies = directory / "strategies.yaml"
        strategies.write_text(yaml.safe_dump({"strategies": [STRATEGY.model_dump(mode="json")]}))
        self.brokers = Brokers(directory, count=cast.brokers, data=cast.data)
        self.nats: ServerProcess = nats(directory)
        self.wires = Wires(self.brokers.address, f"nats://{self.nats.address}", strategies)
        self.crew = Crew(directory, self.wires)
        self.market = Market(self.wires.nats, bar_ms=STRATEGY.bar_ms, speed=cast.speed)
        self.users = tuple(f"user-{number:03d}" for number in range(cast.users))
        self._cast = cast
        self._mended_ns = 0

    async def open(self) -> None:
        """Servers, topics, subscriptions and workers, until all of them are ready."""
        self.nats.start()
        await asyncio.to_thread(self.brokers.start)
        await asyncio.to_thread(self.nats.wait_ready)
        async with self._bus() as bus:
            await create_topics(bus, self.brokers.replication, _TOPICS)
            writer = SubscriptionWriter(bus)
            await writer.put_many(
                self._subscription(user, on) for user in self.users for on in self._cast.symbols
            )
        for _ in range(self._cast.forecasters):
            self.crew.recruit(Role.FORECASTER)
        for _ in range(self._cast.fanouts):
            self.crew.recruit(Role.FANOUT)
        await self.ready()

    async def ready(self, timeout_s: float = READY_S) -> None:
        """Until every worker that is there owns all it was assigned."""
        for name in self.crew.present:
            await eventually(partial(self.crew.ready, name), timeout_s)

    @staticmethod
    async def go_on(seconds: float) -> None:
        """Let the scene play: what a fault does takes its time, and there is nothing to wait for."""
        await asyncio.sleep(seconds)

    def mended(self) -> None:
        """Whatever was done is over, or, if nothing mends it but the hub itself, it has just been done: from
        here on recovery is counted.
        """
        self._mended_ns = time.time_ns()

    async def play(self, fault: str, script: Script, *, seconds: float) -> Outcome:
        """Play ticks for so long, run the script beside, and let the independent reader settle."""
        await self.market.open(seconds)
        reading = asyncio.Event()
        auditor = await Auditor.start(self._audit(seconds), lambda _: reading.set())
        try:
            async with asyncio.timeout(READY_S):
                await reading.wait()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.market.play())
                tasks.create_task(_awaited(script(self)))
            await self.ready()
            ledger = await auditor.finish()
        finally:
            await auditor.kill()
        self.crew.assert_alive()
        return await self._outcome(fault, ledger)

    async def close(self) -> None:
        """Kill everything."""
        self.crew.end()
        await asyncio.to_thread(self.nats.kill)
        await asyncio.to_thread(self.brokers.stop)

    async def _outcome(self, fault: str, ledger: dict[str, Any]) -> Outcome:
        async with self._bus() as bus:
            timeline = Timeline(await arrivals(bus), self.users, self.market.due_ms, STRATEGY.ttl_ms)
        in_time = timeline.in_time
        return Outcome(
            fault=fault,
            ledger=ledger,
            available=len(in_time) / max(1, ledger["expected"]),
            answered=sum(one.answered for one in in_time) / max(1, len(in_time)),
            stale=timeline.stale,
            longest_silence_s=timeline.longest_silence_s(),
            recovery_s=timeline.recovery_s(self._mended_ns) if self._mended_ns else 0.0,
            seen=Seen.of(map(self.crew.told, self.crew.names), map(self.crew.log, self.crew.names)),
        )

    def _audit(self, seconds: float) -> list[str]:
        ticks = [argument for text in TICKS for argument in ("--ticks", text)]
        arguments = ["--kafka", self.brokers.address, "--strategies", str(self.wires.strategies)]
        return [*arguments, *ticks, "--seconds", str(seconds), "--speed", str(self._cast.speed)]

    @asynccontextmanager
    async def _bus(self) -> AsyncIterator[Any]:
        bus = await open_bus(KafkaConfig(bootstrap=self.brokers.address), client_id="scene")
        try:
            yield bus
        finally:
            await bus.close()

    @staticmethod
    def _subscription(user: str, symbol: str) -> Subscription:
        return Subscription(
            user_id=user,
            tenant_id="tenant-1",
            account_id="default",
            strategy=STRATEGY.ref,
            symbol=symbol,
            tier=Tier.PRO,
            entitled_until_ns=time.time_ns() + _YEAR_NS,
        )


@asynccontextmanager
async def scene(directory: Path, cast: Cast | None = None) -> AsyncIterator[Scene]:
    """A scene that is ready to play; all of it ends with the block."""
    opened = Scene(directory, cast or Cast())
    try:
        await opened.open()
        yield opened
    finally:
        await opened.close()


async def _awaited(script: Awaitable[None]) -> None:
    await script
