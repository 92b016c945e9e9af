"""Planted bugs: each takes one rule out of the shipped code. The simulation must notice every one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pytest

from deployments.fanout import fold, predictions
from deployments.fanout.batches import Ahead
from deployments.fanout.marks import Marks
from deployments.fanout.parcels import Parcel
from deployments.fanout.partition import OwnedPartition
from messaging.claims import EpochFilter, Step
from messaging.control import ControlLog
from messaging.ownership import PartitionOwner
from messaging.ports import Record
from models.errors import OwnershipLost
from signals.halts import Halts
from signals.holdings import Holdings
from tests.support.virtual_loop import later

Plant = Callable[[pytest.MonkeyPatch], None]


def no_epoch_check(patch: pytest.MonkeyPatch) -> None:
    """Void records are folded like valid ones."""
    patch.setattr(EpochFilter, "valid", lambda _self, *, epoch, offset: True)


def state_before_ack(patch: pytest.MonkeyPatch) -> None:
    """Memory, and with it the checkpoint, moves when a batch leaves and not when it is acknowledged."""

    async def ship(self: OwnedPartition, parcels: Sequence[Parcel]) -> None:
        for parcel in parcels:
            if parcel.batch:
                self.fold.published(parcel.batch, position=self.lease.position)
        self._next_checkpoint_s = 0.0
        self._checkpoint_if_due()
        await self.lease.append([record for parcel in parcels for record in parcel.records])

    patch.setattr(OwnedPartition, "_ship", ship)


def no_cursor(patch: pytest.MonkeyPatch) -> None:
    """A new owner begins with the predictions of its own time."""
    open_inbox = predictions.PredictionLog.open

    async def open_now(self: predictions.PredictionLog, _cursor: Mapping[int, int]) -> predictions.Inbox:
        return await open_inbox(self, dict(self.positions))

    patch.setattr(predictions.PredictionLog, "open", open_now)


def claim_on_a_timer(patch: pytest.MonkeyPatch) -> None:
    """An owner that the group has refused claims again after a while, unasked."""

    async def wait(self: PartitionOwner) -> None:
        await later(1.0)
        self.machine._step = Step.CLAIM

    patch.setattr(PartitionOwner, "_wait", wait)


def claim_without_a_probe(patch: pytest.MonkeyPatch) -> None:
    """An owner believes in its assignment."""

    async def probe(self: PartitionOwner) -> None:
        await later(0.001)
        self.machine.confirmed(held=True)

    patch.setattr(PartitionOwner, "_probe", probe)


def two_batches_in_flight(patch: pytest.MonkeyPatch) -> None:
    """A slot's records leave as two appends at once."""

    async def publish(
        self: PartitionOwner, records: Sequence[Record], *, within_s: float | None = None
    ) -> int:
        self.machine.appending(len(records))
        half = max(1, len(records) // 2)
        halves = [part for part in (records[:half], records[half:]) if part]
        bases = await asyncio.gather(*(self._append(part) for part in halves), return_exceptions=True)
        if any(isinstance(base, BaseException) for base in bases):
            raise OwnershipLost("one of them failed")
        self.machine.acked(min(base for base in bases if isinstance(base, int)))
        if self.machine.step is Step.READ_BACK:
            self.machine.read_back(await self._claims_in_gap())
        if self.machine.step is not Step.PUBLISH:
            raise OwnershipLost("somebody else claimed")
        return self.machine.expected - len(records)

    patch.setattr(PartitionOwner, "publish", publish)


def a_reader_that_starts_mid_log(patch: pytest.MonkeyPatch) -> None:
    """A reader that does not start at a claim does not ask which claims came before."""

    async def nothing_known(*_: Any) -> EpochFilter:
        await asyncio.sleep(0)
        return EpochFilter()

    patch.setattr(predictions, "epochs_at", nothing_known)
    patch.setattr(fold, "EpochFilter", lambda _claims=(): EpochFilter())


def holdings_that_are_not_restored(patch: pytest.MonkeyPatch) -> None:
    """A new owner does not know what accounts were asked to hold, and how often."""
    patch.setattr(Holdings, "restored", classmethod(lambda cls, *_: cls()))


def holdings_of_the_log_alone(patch: pytest.MonkeyPatch) -> None:
    """What stands in front of a signal in the same append does not count for it."""
    patch.setattr(Ahead, "add", lambda self, batch: self.sequences.update(batch.sequences))


def halts_that_nobody_reads(patch: pytest.MonkeyPatch) -> None:
    """What was known of halts last is believed for ever."""
    patch.setattr(ControlLog, "known", lambda _self: True)


def halts_of_the_first_moment(patch: pytest.MonkeyPatch) -> None:
    """A halt is not looked for again once a worker runs."""
    apply = Halts.apply

    def first(self: Halts, key: bytes, value: bytes | None) -> None:
        if asyncio.get_running_loop().time() < 1.0:
            apply(self, key, value)

    patch.setattr(Halts, "apply", first)
    patch.setattr(Halts, "tell", lambda *_, **__: None)


def marks_beside_their_signals(patch: pytest.MonkeyPatch) -> None:
    """A mark names the place after the signal."""
    note = Marks.note
    patch.setattr(Marks, "note", lambda self, partition, base, *rest: note(self, partition, base + 1, *rest))


BUGS: Final[Sequence[Plant]] = (
    no_epoch_check,
    state_before_ack,
    no_cursor,
    claim_on_a_timer,
    claim_without_a_probe,
    two_batches_in_flight,
    a_reader_that_starts_mid_log,
    holdings_that_are_not_restored,
    holdings_of_the_log_alone,
    halts_that_nobody_reads,
    halts_of_the_first_moment,
    marks_beside_their_signals,
)
