"""A writer of `hub.predictions` for simulations of the fan-out alone: a room on the shipped ownership.

A slot of every series comes due each period; the owner writes what is due and not in the log yet, as a
forecast while it is fresh and as a skipped slot when it is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Final, NoReturn

from messaging.claims import EpochFilter
from messaging.lease import Lease
from messaging.ownership import Ownership, OwnershipConfig
from messaging.ports import EventBus, Record
from messaging.topics import FORECASTER, PREDICTIONS, partition_of
from models import ids
from models.metrics import MemoryMeter
from models.prediction import Prediction, Skipped, SkipReason, Slot
from signals.encoding import encode
from signals.reader import PredictionRules, Series
from tests.unit.signals.records import LINEAGE, forecast

BAR_MS: Final = 10_000
HORIZON_MS: Final = 60_000
TTL_NS: Final = 4_000_000_000
FRESH_NS: Final = 500_000_000


@dataclass(frozen=True)
class Schedule:
    """Slots number 1..count of every (strategy, symbol), one each `period_ns` from `begin_ns` on."""

    series: Sequence[tuple[str, str]]
    begin_ns: int
    period_ns: int
    count: int

    def due(self) -> list[tuple[str, str, int]]:
        """Everything that comes due in the run."""
        return [(*one, number * BAR_MS) for number in range(1, self.count + 1) for one in self.series]

    def due_by(self, now_ns: int) -> int:
        """The number of the last slot that is due."""
        return min(self.count, (now_ns - self.begin_ns) // self.period_ns)


class SlotWriter:
    """Owns partitions of `hub.predictions` and writes what comes due there."""

    def __init__(
        self, bus: EventBus, schedule: Schedule, *, name: str, clock: Callable[[], int], rng: Random
    ) -> None:
        self._bus = bus
        self._schedule = schedule
        self._clock = clock
        self._rng = rng
        self._closes: dict[int, dict[Series, int]] = {}
        config = OwnershipConfig(topic=PREDICTIONS.name, group=FORECASTER.name, name=name)
        self._ownership = Ownership(bus, self, config, clock=clock, rng=rng, meter=MemoryMeter())

    async def run(self) -> NoReturn:
        await self._ownership.run()

    async def stop(self) -> None:
        await self._ownership.leave()

    async def restore(self, lease: Lease) -> int:
        rules = PredictionRules(EpochFilter())
        async for records in self._bus.read(PREDICTIONS.name, lease.partition, 0, lease.epoch + 1):
            for record in records:
                rules.take(record.offset, record.key, record.value)
        self._closes[lease.partition] = rules.series
        return lease.epoch + 1

    async def serve(self, lease: Lease) -> NoReturn:
        closes = self._closes[lease.partition]
        series = [one for one in self._schedule.series if _partition(one[1]) == lease.partition]
        while True:
            owed = self._owed(series, closes)
            records = [self._record(slot, lease.epoch) for slot in owed]
            if records:
                fitting = lease.fits(records)
                await lease.append(records[:fitting])
                closes.update({slot.series: slot.bar_close_ms for slot in owed[:fitting]})
            await asyncio.sleep(0.05 if series else 60.0)

    def _owed(self, series: Sequence[tuple[str, str]], closes: Mapping[Series, int]) -> list[Slot]:
        """What is due and not in the log, oldest first."""
        last = self._schedule.due_by(self._clock())
        owed = [
            (number, one)
            for one in series
            for number in range(closes.get((*one, HORIZON_MS), 0) // BAR_MS + 1, last + 1)
        ]
        return [_slot(*one, number * BAR_MS) for number, one in sorted(owed)]

    def _record(self, slot: Slot, epoch: int) -> Record:
        now_ns = self._clock()
        due_ns = self._schedule.begin_ns + slot.bar_close_ms // BAR_MS * self._schedule.period_ns
        common = {
            "epoch": epoch,
            "slot": slot,
            "asof_ms": slot.bar_close_ms,
            "generated_ns": min(now_ns, due_ns + TTL_NS - 1),
            "expires_ns": due_ns + TTL_NS,
            "stages": {"tick": due_ns},
            "traceparent": ids.traceparent(self._rng),
        }
        owed: Prediction | Skipped
        if now_ns - due_ns > FRESH_NS:
            owed = Skipped.model_validate({**common, "reason": SkipReason.BEHIND, "detail": "written late"})
        else:
            forecasts = {"forecast": forecast(2e-5), "lineage": LINEAGE, "decision": None}
            reference = {"bid": 1.1, "ask": 1.1001, "ts_ms": slot.bar_close_ms}
            owed = Prediction.model_validate({**common, **forecasts, "reference": reference})
        return Record(slot.symbol.encode(), encode(owed))


@cache
def _partition(symbol: str) -> int:
    return partition_of(symbol.encode(), PREDICTIONS.partitions)


def _slot(strategy: str, symbol: str, close_ms: int) -> Slot:
    signal = ids.signal_id(strategy=strategy, symbol=symbol, bar_close_ms=close_ms, horizon_ms=HORIZON_MS)
    return Slot(
        signal_id=str(signal),
        strategy=strategy,
        symbol=symbol,
        bar_ms=BAR_MS,
        horizon_ms=HORIZON_MS,
        bar_close_ms=close_ms,
    )
