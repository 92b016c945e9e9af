"""A market, a log and a scripted router, for tests of the forecaster on one event loop.

Market time runs from `START_MS`; wall time is the test's own, so that no test waits for a deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import numpy as np
from numpy.typing import NDArray

from deployments.forecaster.config import WorkerConfig
from deployments.forecaster.worker import ForecastWorker
from messaging.claims import EpochFilter
from messaging.memory import MemoryBus, MemoryFeed, MemoryLog, MemoryMarket
from messaging.topics import PREDICTIONS, create_topics, partition_of
from models.answer import Answer
from models.decision import Degradation
from models.forecast import Forecast
from models.market import Bar, MarketClock, Tick
from models.metrics import MemoryMeter
from models.prediction import Lineage, Prediction, Skipped
from models.request import Requirements
from models.strategy import ForecastNeeds, Strategy
from models.task import WINDOW
from signals.reader import PredictionRules, Verdict

BAR_MS = 10_000
START_MS = 1_400_000_000_000
START_NS = 1_795_000_000_000_000_000
SECOND_NS = 1_000_000_000
FORECAST = Forecast(
    q05=-1e-4, q50=1e-5, q95=1e-4, lower=-1e-4, upper=1e-4, level=0.9, prob_up=0.5, in_distribution=True
)
LINEAGE = Lineage(
    model="ridge",
    version="1",
    artifact_sha256="a" * 64,
    calibration="c",
    replica="r#1",
    decision_id="d",
    attempts=1,
    inference_us=1,
    queue_us=1,
    degradation=Degradation.NONE,
)


def strategy(
    name: str = "alpha", *, symbols: Sequence[str] = ("EURUSD",), needs: ForecastNeeds | None = None
) -> Strategy:
    """A strategy on ten second bars."""
    return Strategy(
        name=name,
        version="1",
        symbols=tuple(symbols),
        bar_ms=BAR_MS,
        horizon_ms=60_000,
        needs=needs or ForecastNeeds(),
    )


@dataclass
class ScriptedRouter:
    """Notes and answers every call, after what the test says: `before` may raise, `gated` calls wait for the
    `gate`.
    """

    calls: list[tuple[Requirements, NDArray[np.float32]]] = field(default_factory=list)
    before: Callable[[Requirements], object] | None = None
    gate: asyncio.Event | None = None
    gated: Callable[[Requirements], bool] = lambda _: True

    async def infer(
        self,
        requirements: Requirements,
        window: NDArray[np.float32],
        context: NDArray[np.float32],
        *,
        traceparent: str,
        unit: str = "",
    ) -> Answer:
        assert window.shape == (requirements.rows, WINDOW)
        assert len(context) == len(window)
        assert traceparent.startswith("00-")
        self.calls.append((requirements, window))
        if self.before:
            self.before(requirements)
        if self.gate and self.gated(requirements):
            await self.gate.wait()
        rows = [FORECAST.model_copy(update={"q50": float(row[-1])}) for row in window]
        return Answer(forecasts=rows, decision=None, lineage=LINEAGE, stages={"decided": 1})  # type: ignore[arg-type]


class Scene:
    """The servers, and the feeder that plays the market."""

    def __init__(self) -> None:
        self.now_ns = START_NS
        self.log = MemoryLog(Random(1), clock=self.clock)
        self.market = MemoryMarket(Random(2))
        self.router = ScriptedRouter()
        self.meter = MemoryMeter()
        self.feeder = MemoryFeed(self.market, MemoryBus(self.log, "feeder").process)
        self.sequences: dict[str, int] = {}

    def clock(self) -> int:
        """Wall time, moved by the test."""
        return self.now_ns

    async def seed(self, symbol: str = "EURUSD", *, end_ms: int = START_MS, count: int = WINDOW + 1) -> None:
        """Store the history that ends at `end_ms`."""
        for index in range(count):
            close_ms = end_ms - (count - 1 - index) * BAR_MS
            price = 1.1 + (index % 7) * 1e-4
            await self.feeder.put_bar(bar(symbol, close_ms, price), after=None)

    async def tell(self, now_ms: int, *, session: str = "s1") -> None:
        """Send the market clock."""
        clock = MarketClock(now_ms, session, self.now_ns, dict(self.sequences))
        await self.feeder.publish_clock(clock)

    async def tick(
        self, ts_ms: int, price: float = 1.1, *, symbol: str = "EURUSD", session: str = "s1"
    ) -> None:
        """Send the next tick of a symbol."""
        self.sequences[symbol] = self.sequences.get(symbol, 0) + 1
        quote = Tick(symbol, ts_ms, price, price + 1e-4, self.sequences[symbol], session, self.now_ns)
        await self.feeder.publish_tick(quote)

    def worker(self, name: str, strategies: Sequence[Strategy]) -> tuple[ForecastWorker, MemoryBus]:
        """A worker in a process of its own."""
        bus = MemoryBus(self.log, name)
        worker = ForecastWorker(
            bus,
            MemoryFeed(self.market, bus.process),
            self.router,
            strategies,
            clock=self.clock,
            rng=Random(name),
            meter=self.meter,
            config=WorkerConfig(name=name, retry_s=0.01, append_timeout_s=0.2),
        )
        return worker, bus

    @asynccontextmanager
    async def running(
        self, *strategies: Strategy, name: str = "w1"
    ) -> AsyncIterator[tuple[ForecastWorker, MemoryBus]]:
        """A worker that is live, until the end of the block kills it."""
        if PREDICTIONS.name not in self.log.states():
            await create_topics(MemoryBus(self.log, "admin"), 1)
        worker, bus = self.worker(name, strategies)
        running = asyncio.create_task(worker.run())
        try:
            await self.until(lambda: worker.ready)
            yield worker, bus
            assert not running.done(), running.exception()
        finally:
            bus.process.crash()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def until(self, condition: Callable[[], bool], *, timeout_s: float = 5.0) -> None:
        """Wait for the condition, by turns of the loop."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while not condition():
            assert asyncio.get_running_loop().time() < deadline, f"not within {timeout_s} s"
            await asyncio.sleep(0.001)

    def owed(self, symbol: str = "EURUSD") -> list[Prediction | Skipped]:
        """The valid records of the symbol's partition, as any reader sees them."""
        rules = PredictionRules(EpochFilter())
        partition = partition_of(symbol.encode(), PREDICTIONS.partitions)
        records = self.log.partition(PREDICTIONS.name, partition).records
        readings = [rules.take(record.offset, record.key, record.value) for record in records]
        return [one.owed for one in readings if one.verdict is Verdict.ACCEPTED and one.owed]

    def closes(self, symbol: str = "EURUSD") -> list[int]:
        """Which bars were settled, as bars after the start: 1 is the first due."""
        return [(one.slot.bar_close_ms - START_MS) // BAR_MS for one in self.owed(symbol)]

    async def settled(self, count: int, symbol: str = "EURUSD") -> list[Prediction | Skipped]:
        """The records, once there are so many."""
        await self.until(lambda: len(self.owed(symbol)) >= count)
        return self.owed(symbol)


def bar(symbol: str, close_ms: int, price: float, *, ticks: int = 1) -> Bar:
    """A flat bar."""
    return Bar(symbol, BAR_MS, close_ms, price, price, price, price, 1e-4, ticks)


def stored(scene: Scene) -> list[Bar]:
    """The bars in the feed."""
    (bars,) = scene.market.bars.values()
    return bars
