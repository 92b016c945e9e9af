"""One owned partition of `hub.predictions`: what was planned of its series, and what waits to be appended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from messaging.lease import Lease
from messaging.ports import Record
from models.events import BEAT_KEY, Beat
from models.evidence import SHADOW_KEY, Shadow
from models.metrics import Meter
from models.prediction import Prediction, Skipped, Slot
from signals.encoding import encode
from signals.reader import Series


class Lane:
    """Lives as long as its lease. What it has not appended by then dies with it: the next owner finds in the
    log which slots are missing.

    `live_ns` is the wall time from which on this owner saw bars close.
    """

    def __init__(
        self,
        lease: Lease,
        closes: Mapping[Series, int],
        *,
        clock: Callable[[], int],
        meter: Meter,
    ) -> None:
        self.live_ns = clock()
        self._lease = lease
        self._closes = dict(closes)
        self._clock = clock
        self._meter = meter
        self._waiting: list[tuple[Record, Prediction | Skipped | None]] = []
        self._beside: list[Record] = []
        self._arrived = asyncio.Event()
        self.acked = 0

    @property
    def epoch(self) -> int:
        return self._lease.epoch

    @property
    def backlog(self) -> int:
        """Records that wait for their append."""
        return len(self._waiting)

    def plan(self, slot: Slot) -> bool:
        """Note that a slot is on its way; False if it, or a later one of its series, was before."""
        if slot.bar_close_ms <= self._closes.get(slot.series, -1):
            self._count(slot.strategy, "repeated")
            return False
        self._closes[slot.series] = slot.bar_close_ms
        return True

    def put(self, owed: Sequence[Prediction | Skipped]) -> None:
        """Append these next, after all that were put before."""
        self._waiting += [(Record(one.slot.symbol.encode(), encode(one)), one) for one in owed]
        self._waiting += [(shadow, None) for shadow in self._beside]
        self._beside.clear()
        self._arrived.set()

    def put_beside(self, shadow: Shadow) -> None:
        """Append this behind the slots that are put next: nobody waits for it, so it costs no append."""
        self._beside.append(Record(SHADOW_KEY, encode(shadow)))

    def verify(self) -> None:
        """Append a beat: if somebody else has claimed the partition, the log says so now."""
        beat = Beat(epoch=self.epoch, cursor={}, now_ns=self._clock())
        self._waiting.append((Record(BEAT_KEY, encode(beat)), None))
        self._arrived.set()

    async def publish(self) -> NoReturn:
        """Append what waits, one batch at a time, until the lease is lost."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                await self._append_next()

    async def _append_next(self) -> None:
        records = [record for record, _ in self._waiting]
        count = max(1, self._lease.fits(records))
        await self._lease.append(records[:count])
        settled = [owed for _, owed in self._waiting[:count] if owed]
        del self._waiting[:count]
        self.acked += len(settled)
        self._measure(settled, self._clock())

    def _measure(self, settled: Sequence[Prediction | Skipped], acked_ns: int) -> None:
        for owed in settled:
            outcome = owed.reason.value if isinstance(owed, Skipped) else "predicted"
            self._count(owed.slot.strategy, outcome)
            if isinstance(owed, Prediction):
                self._measure_stages({**owed.stages, "acked": acked_ns})

    def _count(self, strategy: str, outcome: str) -> None:
        self._meter.count("hub_slots_total", {"strategy": strategy, "outcome": outcome})

    def _measure_stages(self, stages: Mapping[str, int]) -> None:
        for stage, at_ns in stages.items():
            if stage != "tick":
                self._meter.observe("hub_stage_ms", {"stage": stage}, (at_ns - stages["tick"]) / 1e6)
