"""A log of predictions for the tests of the tracker, and what a reader of its outcomes sees."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random

from deployments.tracker.config import JudgingConfig
from deployments.tracker.outcome_fold import OutcomeFold
from deployments.tracker.worker import TrackerWorker
from messaging.memory import MemoryBus, MemoryLog
from messaging.ports import Record
from messaging.topics import PREDICTIONS, create_topics, partition_of
from models.events import CLAIM_KEY
from models.evidence import SHADOW_KEY, Outcome, Shadow, Spread, Trial
from models.metrics import MemoryMeter
from models.prediction import Prediction, ReferencePrice
from models.task import INTERVAL_LEVELS
from routing.evidence.rules import EvidenceRules
from signals.encoding import encode
from tests.unit.signals.records import BAR_MS, CLOSE_MS, LINEAGE, forecast, prediction, slot

SPREAD = Spread(scale=1e-4, multipliers=tuple(0.5 + index / 2 for index in range(len(INTERVAL_LEVELS))))
SYMBOLS = ("EURUSD", "NZDUSD")
CONFIG = JudgingConfig(rules=EvidenceRules(window_least=20), read_s=0.005, publish_s=0.02)
HORIZON = 6


class Forecasters:
    """Appends predictions of both symbols, and behind each the shadows of the one before."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._bus = MemoryBus(log, "forecaster")
        self._rng = Random(3)
        self._epochs: dict[str, int] = {}
        self._mids = dict.fromkeys(SYMBOLS, 1.1)
        self._bar = 0

    async def claim(self) -> None:
        """Own both symbols."""
        for symbol in SYMBOLS:
            self._epochs[symbol] = await self.append(symbol, [Record(CLAIM_KEY, b"{}")])

    async def bars(self, count: int) -> None:
        """The next bars, one after the other."""
        for _ in range(count):
            for symbol in SYMBOLS:
                await self.bar(symbol)
            self._bar += 1

    async def bar(self, symbol: str) -> None:
        """One bar: a prediction of `ridge`, and the shadow of `naive` for the bar before."""
        records = [Record(symbol.encode(), encode(self._predicted(symbol)))]
        if self._bar:
            records.append(Record(SHADOW_KEY, encode(self._shadow(symbol, self._bar - 1))))
        self._mids[symbol] *= math.exp(self._rng.gauss(0, 1e-4))
        await self.append(symbol, records)

    async def append(self, symbol: str, records: Sequence[Record]) -> int:
        """Append to the symbol's partition."""
        producer = await self._bus.producer("forecaster")
        partition = partition_of(symbol.encode(), PREDICTIONS.partitions)
        return await producer.append(PREDICTIONS.name, partition, records, timeout_s=5)

    def _predicted(self, symbol: str) -> Prediction:
        mid = self._mids[symbol]
        made = prediction(slot(CLOSE_MS + self._bar * BAR_MS, symbol=symbol), epoch=self._epochs[symbol])
        quote = ReferencePrice(bid=mid, ask=mid, ts_ms=made.slot.bar_close_ms)
        changed = {"reference": quote, "forecast": forecast(0.0), "lineage": LINEAGE, "spread": SPREAD}
        return made.model_copy(update=changed)

    def _shadow(self, symbol: str, bar: int) -> Shadow:
        return Shadow(
            epoch=self._epochs[symbol],
            symbol=symbol,
            bar_ms=BAR_MS,
            horizon_ms=HORIZON * BAR_MS,
            bar_close_ms=CLOSE_MS + bar * BAR_MS,
            mid=1.1,
            trials=(Trial(model="naive@1", spread=SPREAD),),
        )


@asynccontextmanager
async def tracking(log: MemoryLog, name: str = "a") -> AsyncIterator[TrackerWorker]:
    """A tracker at work; the end of the block kills it."""
    bus = MemoryBus(log, f"tracker-{name}")
    worker = TrackerWorker(bus, CONFIG, name=name, clock=time.time_ns, rng=Random(name), meter=MemoryMeter())
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        bus.process.crash()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def market(log: MemoryLog, bars: int) -> Forecasters:
    """Topics, and a log of so many bars."""
    await create_topics(MemoryBus(log, "admin"), 1)
    forecasters = Forecasters(log)
    await forecasters.claim()
    await forecasters.bars(bars)
    return forecasters


def read(log: MemoryLog) -> tuple[OutcomeFold, list[Outcome]]:
    """What a reader that starts now makes of the outcomes: their fold, and those that count."""
    counted: list[Outcome] = []

    class Noting(OutcomeFold):
        def take(self, offset: int, outcome: Outcome) -> None:
            super().take(offset, outcome)
            counted.append(outcome)

    judged = Noting(CONFIG.rules)
    judged.take_all(log.partition("hub.outcomes", 0).records)
    return judged, counted
