"""The forecaster: owns symbols by claim, and settles every slot that comes due for them.

The main path is `_closed`: a clock message closed bars; every strategy on them owes a slot; the slots go to
their groups, from there answered or refused to their lanes, and from there to the log.

A partition lives from `serve` until its lease is lost. What was planned under the lease and is not in the
log by then is planned again by the next owner, who follows the market from the last close in the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any, NoReturn

from deployments.forecaster.bar_store import BarStore
from deployments.forecaster.config import WorkerConfig
from deployments.forecaster.group import ForecastGroup, GroupKey
from deployments.forecaster.intake import MarketIntake
from deployments.forecaster.lane import Lane
from deployments.forecaster.market import Closing
from deployments.forecaster.restore import last_closes
from deployments.forecaster.shadows import Beside, ShadowAsks
from deployments.forecaster.slots import DueSlot, Outcome
from messaging.lease import Lease
from messaging.ownership import Ownership, OwnershipConfig
from messaging.ports import EventBus, MarketFeed
from messaging.topics import FORECASTER, PREDICTIONS, partition_of
from models.answer import Router
from models.market import MarketClock
from models.metrics import Meter
from models.strategy import Strategy
from signals.reader import Series


class ForecastWorker:
    """One member of the forecaster group. Runs on one event loop; owns no thread and no clock of its own."""

    def __init__(
        self,
        bus: EventBus,
        feed: MarketFeed,
        router: Router,
        strategies: Sequence[Strategy],
        *,
        clock: Callable[[], int],
        rng: Random,
        meter: Meter,
        config: WorkerConfig,
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._meter = meter
        self._config = config
        self._roster = Roster(strategies)
        self._ownership = Ownership(bus, self, _ownership_config(config), clock=clock, rng=rng, meter=meter)
        self._bars = BarStore(feed, on_stale=self._doubt, rng=rng, retry_s=config.retry_s)
        self._intake = MarketIntake(
            feed,
            self._bars,
            self._roster.bar_sizes,
            on_close=self._closed,
            rng=rng,
            meter=meter,
            retry_s=config.retry_s,
        )
        self._rng = rng
        self._shadows: ShadowAsks | None = None
        self._groups = {
            key: ForecastGroup(
                key,
                router,
                clock=clock,
                rng=rng,
                stale_after_ms=config.stale_after_ms,
                settled=self._settled,
            )
            for key in dict.fromkeys(map(GroupKey.of, strategies))
        }
        self._restored: dict[int, dict[Series, int]] = {}
        self._lanes: dict[int, Lane] = {}
        self._running: asyncio.Task[Any] | None = None

    def measure(self, beside: Beside) -> None:
        """From `run` on, ask the models that did not answer, too. Call it before."""
        self._shadows = ShadowAsks(beside, clock=self._clock, rng=self._rng, meter=self._meter)

    async def run(self) -> NoReturn:
        """Own, follow and forecast, until cancelled or stopped."""
        self._running = asyncio.current_task()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._bars.run())
            for group in self._groups.values():
                tasks.create_task(group.run())
            if self._shadows:
                tasks.create_task(self._shadows.run())
            tasks.create_task(self._ownership.run())
            await self._intake.run()

    async def stop(self) -> None:
        """Hand over: leave the group, publish on while others take over, then end `run`."""
        await self._ownership.leave()
        await asyncio.sleep(self._config.drain_s)
        if self._running:
            self._running.cancel()

    async def restore(self, lease: Lease) -> int:
        """Forget the partition and fold its log up to the claim."""
        stop = lease.epoch + 1
        self._restored[lease.partition] = await last_closes(
            self._bus,
            lease.partition,
            stop=stop,
            wanted=self._roster.series(lease.partition),
            now_ms=self._clock() // 1_000_000,
            reach_s=self._config.reach_s,
        )
        return stop

    async def serve(self, lease: Lease) -> NoReturn:
        """Own the partition's symbols and append their slots until the lease is lost."""
        closes = self._restored.pop(lease.partition)
        lane = Lane(lease, closes, clock=self._clock, meter=self._meter)
        symbols = self._roster.symbols(lease.partition)
        self._lanes[lease.partition] = lane
        self._intake.own({symbol: _resume_ms(symbol, closes) for symbol in symbols})
        try:
            await lane.publish()
        finally:
            del self._lanes[lease.partition]
            self._intake.disown(symbols)

    def _closed(self, clock: MarketClock, closings: Sequence[Closing]) -> None:
        """Plan every slot that the closed bars make due, and let slots with equal needs go together."""
        now_ns = self._clock()
        due: dict[GroupKey, list[DueSlot]] = {}
        for closing in closings:
            lane = self._lanes.get(self._roster.partition(closing.bar.symbol))
            if lane is None:
                continue
            for strategy in self._roster.on(closing.bar.symbol, closing.bar.bar_ms):
                slot = DueSlot.of(lane, strategy, closing, clock=clock, now_ns=now_ns)
                if lane.plan(slot.slot):
                    due.setdefault(GroupKey.of(strategy), []).append(slot)
        for key, slots in due.items():
            self._groups[key].add(slots)

    def _settled(self, settled: Sequence[tuple[DueSlot, Outcome]]) -> None:
        if self._shadows:
            self._shadows.add(settled)

    def _doubt(self, symbol: str) -> None:
        """Somebody else wrote a bar of the symbol: let the log say whether it is still ours."""
        lane = self._lanes.get(self._roster.partition(symbol))
        if lane:
            lane.verify()

    @property
    def ready(self) -> bool:
        """Whether all that the group assigned is owned, restored and followed."""
        return self._ownership.ready and self._intake.ready

    def down_s(self) -> float:
        """For how long some assigned partition has been without being live."""
        return self._ownership.down_s()

    def status(self) -> dict[str, Any]:
        """What is owned under which claim, how far the market is, what is missing."""
        return {
            "ready": self.ready,
            "down_s": self.down_s(),
            "entering": self._ownership.entering(),
            "partitions": sorted(self._ownership.partitions),
            "lanes": {
                partition: {"epoch": lane.epoch, "acked": lane.acked, "backlog": lane.backlog}
                for partition, lane in self._lanes.items()
            },
            **self._intake.status(),
        }


class Roster:
    """Which strategies owe slots on which symbols, and which partition each symbol belongs to."""

    def __init__(self, strategies: Iterable[Strategy]) -> None:
        self._on: dict[tuple[str, int], list[Strategy]] = {}
        for strategy in strategies:
            for symbol in strategy.symbols:
                self._on.setdefault((symbol, strategy.bar_ms), []).append(strategy)
        names = sorted({symbol for symbol, _ in self._on})
        self._partitions = {name: partition_of(name.encode(), PREDICTIONS.partitions) for name in names}
        self.bar_sizes = {name: sorted(size for symbol, size in self._on if symbol == name) for name in names}

    def on(self, symbol: str, bar_ms: int) -> Sequence[Strategy]:
        """The strategies that owe a slot when such a bar closes."""
        return self._on.get((symbol, bar_ms), ())

    def partition(self, symbol: str) -> int:
        return self._partitions[symbol]

    def symbols(self, partition: int) -> list[str]:
        """The symbols whose slots go to this partition."""
        return [symbol for symbol, at in self._partitions.items() if at == partition]

    def series(self, partition: int) -> set[Series]:
        """The series whose records go to this partition."""
        return {
            (strategy.ref, symbol, strategy.horizon_ms)
            for (symbol, _), strategies in self._on.items()
            for strategy in strategies
            if self._partitions[symbol] == partition
        }


def _resume_ms(symbol: str, closes: dict[Series, int]) -> int:
    """From which close on the symbol's market is needed: the last of the series that is furthest back."""
    return min((close for (_, name, _), close in closes.items() if name == symbol), default=0)


def _ownership_config(config: WorkerConfig) -> OwnershipConfig:
    return OwnershipConfig(
        topic=PREDICTIONS.name,
        group=FORECASTER.name,
        name=config.name,
        append_timeout_s=config.append_timeout_s,
        retry_s=config.retry_s,
    )
