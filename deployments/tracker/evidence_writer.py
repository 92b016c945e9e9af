"""Writes what has changed of the evidence, with a producer of its own: whoever reads it takes the newest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NoReturn

from messaging.ports import EventBus, Producer, Record
from messaging.topics import EVIDENCE
from models.errors import MessagingError
from models.evidence import ModelEvidence
from models.metrics import Meter

_PARTITION: Final = 0
_TIMEOUT_S: Final = 5.0
_SHOWN: Final = ("0.90", "0.95")
"""The levels whose coverage is a metric."""


class EvidenceWriter:
    """Run `run` as a task. Evidence is a fold that can never become untrue, only old: one that is lost is
    written again with the next.
    """

    def __init__(self, bus: EventBus, *, name: str, period_s: float, meter: Meter) -> None:
        self._bus = bus
        self._name = name
        self._period_s = period_s
        self._meter = meter
        self._unwritten: dict[str, ModelEvidence] = {}
        self.written = 0

    async def run(self, changed: Callable[[], Sequence[ModelEvidence]]) -> NoReturn:
        """Write what `changed` says has changed since it was asked last, a few models at a time, until
        cancelled.
        """
        producer = await self._bus.producer(f"{self._name}-evidence")
        try:
            while True:
                while some := changed():
                    self._unwritten |= {found.model: found for found in some}
                    with suppress(MessagingError):  # the broker is away: again with the next
                        await self._write(producer)
                await asyncio.sleep(self._period_s)
        finally:
            await producer.close()

    async def _write(self, producer: Producer) -> None:
        while self._unwritten:
            records = [_record(found) for found in self._unwritten.values()]
            batch = records[: max(1, producer.fits(records))]
            try:
                await producer.append(EVIDENCE.name, _PARTITION, batch, timeout_s=_TIMEOUT_S)
            except MessagingError:
                await producer.rebuild()
                return
            self._settle(list(self._unwritten)[: len(batch)])

    def _settle(self, models: Sequence[str]) -> None:
        for model in models:
            self._measure(self._unwritten.pop(model))
        self.written += len(models)

    def _measure(self, found: ModelEvidence) -> None:
        pooled = found.on("*")
        if pooled is None:
            return
        for level in _SHOWN:
            labels = {"model": found.model, "level": level}
            self._meter.gauge("hub_live_coverage", labels, pooled.coverage[level].value)
        if pooled.skill:
            self._meter.gauge("hub_live_skill", {"model": found.model}, pooled.skill.value)


def _record(found: ModelEvidence) -> Record:
    return Record(found.model.encode(), found.model_dump_json(by_alias=True).encode())
