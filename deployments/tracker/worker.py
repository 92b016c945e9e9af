"""Judges forecasts as the claimed owner of `hub.outcomes`.

restore: fold the whole log -> serve: read predictions from where the log says, append the outcomes that they
bring, and fold them in turn. Beside that the evidence is written. What was read and not yet judged when a
claim is lost, the next owner reads again; what was judged is known by its series, so nothing counts twice.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final, NoReturn

from deployments.tracker.config import JudgingConfig
from deployments.tracker.evidence_writer import EvidenceWriter
from deployments.tracker.intake import Intake
from deployments.tracker.outcome_fold import OutcomeFold, counted
from messaging.history import epochs_at
from messaging.lease import Lease
from messaging.ownership import Ownership, OwnershipConfig
from messaging.ports import EventBus, LogRecord, Record
from messaging.topics import OUTCOMES, PREDICTIONS, TRACKER
from models.evidence import ModelEvidence, Outcome
from models.metrics import Meter
from signals.outcomes import Resolver, Unjudged

_WAIT_S: Final = 1.0
_LATE_MS: Final = 100
_MANY: Final = 100
"""Records at once that say that more wait."""
_AT_ONCE: Final = 8
"""Models whose evidence is made without a pause."""


class TrackerWorker:
    """Owns `hub.outcomes` while the group assigns it; a second tracker waits until then.

    `run` is one task; the room methods `restore` and `serve` are called by the ownership it runs.
    """

    def __init__(
        self,
        bus: EventBus,
        config: JudgingConfig,
        *,
        name: str,
        clock: Callable[[], int],
        rng: Random,
        meter: Meter,
    ) -> None:
        self._bus = bus
        self._config = config
        self._meter = meter
        self._judged = OutcomeFold(config.rules)
        self._resolvers: list[Resolver] = []
        self._writer = EvidenceWriter(bus, name=name, period_s=config.publish_s, meter=meter)
        self._ownership = Ownership(
            bus,
            self,
            OwnershipConfig(topic=OUTCOMES.name, group=TRACKER.name, name=name),
            clock=clock,
            rng=rng,
            meter=meter,
        )

    async def run(self) -> NoReturn:
        """Judge and stay, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._writer.run(self._changed))
            await self._ownership.run()

    async def restore(self, lease: Lease) -> int:
        """Fold all of `hub.outcomes` up to and including the claim."""
        self._judged = OutcomeFold(self._config.rules)
        first, _ = await self._bus.bounds(OUTCOMES.name, lease.partition)
        async for records in self._bus.read(OUTCOMES.name, lease.partition, first, lease.epoch + 1):
            self._judged.take_all(records)
        return lease.epoch + 1

    async def serve(self, lease: Lease) -> NoReturn:
        """Judge until the lease is lost.

        Called again when the broker could not be read: what was not written then is judged again.
        """
        self._resolvers = []
        starts = await self._starts()
        intakes = {partition: await self._intake(partition, start) for partition, start in starts.items()}
        tail = await self._bus.tail(PREDICTIONS.name, starts, late_ms=_LATE_MS)
        try:
            while True:
                records = await tail.batch(max_wait_s=_WAIT_S)
                await self._append(lease, _outcomes(intakes, records, lease.epoch))
                if len(records) < _MANY:
                    await asyncio.sleep(self._config.read_s)
        finally:
            await tail.close()

    def status(self) -> dict[str, Any]:
        """Whether this tracker judges, how far it is, and what it could not judge."""
        fold = self._judged.fold
        return {
            "live": bool(self._ownership.live()),
            "cursor": fold.cursor,
            "outcomes": fold.outcomes,
            "models": sorted(fold.models),
            "evidence_written": self._writer.written,
            "unjudged": dict(sum((one.unjudged for one in self._resolvers), Counter[Unjudged]())),
        }

    def down_s(self) -> float:
        """For how long the log has been assigned here without being live."""
        return self._ownership.down_s()

    def _changed(self) -> list[ModelEvidence]:
        """What the evidence writer has to write: nothing unless this tracker judges."""
        return self._judged.fold.changed(_AT_ONCE) if self._ownership.live() else []

    async def _starts(self) -> dict[int, int]:
        """Where each partition of predictions is read on: as the last outcome says, or from what is kept."""
        starts = {}
        for partition in range(PREDICTIONS.partitions):
            first, _ = await self._bus.bounds(PREDICTIONS.name, partition)
            starts[partition] = max(first, self._judged.resume.get(partition, first))
        return starts

    async def _intake(self, partition: int, start: int) -> Intake:
        resolver = Resolver(partition, judged_until=self._judged.until, control=self._control)
        self._resolvers.append(resolver)
        return Intake(await epochs_at(self._bus, PREDICTIONS.name, partition, start), resolver)

    async def _append(self, lease: Lease, outcomes: Sequence[Outcome]) -> None:
        """Append and fold, in as many batches as it takes."""
        pending = [_record(outcome) for outcome in outcomes]
        while pending:
            batch = pending[: max(1, lease.fits(pending))]
            offset = await lease.append(batch)
            for index, outcome in enumerate(outcomes[: len(batch)]):
                self._judged.take(offset + index, outcome)
            for model, count in counted(outcomes[: len(batch)]).items():
                self._meter.count("hub_outcomes_total", {"model": model}, count)
            pending, outcomes = pending[len(batch) :], outcomes[len(batch) :]

    def _control(self, models: Sequence[str]) -> str | None:
        """The oldest version of the control that is among the models."""
        return min((model for model in models if model.split("@")[0] == self._config.control), default=None)


def _outcomes(intakes: dict[int, Intake], records: Sequence[LogRecord], epoch: int) -> list[Outcome]:
    return [outcome for one in records for outcome in intakes[one.partition].take(one, epoch=epoch)]


def _record(outcome: Outcome) -> Record:
    return Record(outcome.symbol.encode(), outcome.model_dump_json(by_alias=True).encode())
