"""A partition of `user.signals` as its readers see it: what an owner restores, and moves on with each ack.

It is the readers' own fold. An owner that moves it for its own batches does not read them back: what
`published` does is what `SignalRules.take` would do with the same records, which a test holds it to.
"""

from __future__ import annotations

from typing import Final

from deployments.fanout.batches import Batch
from messaging.claims import EpochFilter
from messaging.ports import EventBus, LogRecord, Record
from messaging.topics import SIGNALS
from models.events import Checkpoint, Undelivered
from models.prediction import Slot
from signals.reader import LastSlot, SignalHead, SignalRules, Verdict

_NO_STANDING: Final = {Verdict.VOID, Verdict.FORGED}


class Fold:
    """Sequences, last slots and cursor of one partition; owned by one task."""

    def __init__(self, rules: SignalRules, epochs: EpochFilter) -> None:
        self.rules = rules
        self.late: dict[str, tuple[SignalHead, int]] = {}
        self.claimed_ms = 0
        self._epochs = epochs

    @classmethod
    async def restored(
        cls, bus: EventBus, partition: int, *, stop: int, checkpoint: Checkpoint | None
    ) -> Fold:
        """The fold of the log up to `stop`, from the checkpoint on, or from the beginning without one.

        `late` holds, by signal id, a signal and the number of those that landed when they had expired, by the
        broker's clock, and are not recorded as undelivered: their owner was stopped between the two.
        `claimed_ms` is the broker's time of the last record, which is the claim.
        """
        epochs = EpochFilter(checkpoint.claims if checkpoint else ())
        rules = SignalRules.resumed(epochs, checkpoint) if checkpoint else SignalRules(epochs)
        first, _ = await bus.bounds(SIGNALS.name, partition)
        start, fold = max(first, rules.position), cls(rules, epochs)
        async for records in bus.read(SIGNALS.name, partition, start, stop):
            for record in records:
                fold._take(record)
        rules.position = stop
        return fold

    def _take(self, record: LogRecord) -> None:
        self.claimed_ms = record.timestamp_ms
        landed_ns = (record.timestamp_ms + 1) * 1_000_000
        reading = self.rules.take(record.offset, record.key, record.value, landed_ns)
        if reading.verdict is Verdict.EXPIRED and reading.head:
            _, count = self.late.get(reading.head.signal_id, (None, 0))
            self.late[reading.head.signal_id] = reading.head, count + 1
        elif isinstance(reading.control, Undelivered) and reading.verdict not in _NO_STANDING:
            self.late.pop(reading.control.signal_id, None)

    def last(self, slot: Slot) -> LastSlot | None:
        """The newest slot of the same series that is in the log, whole or in part."""
        return self.rules.slots.get(slot.series)

    def published(self, batch: Batch, *, position: int) -> None:
        """A batch of ours is valid in the log; everything before `position` is known."""
        entry, rules = batch.entry, self.rules
        rules.sequences.update(batch.sequences)
        rules.holdings.ask(batch.asked, entry.owed.generated_ns)
        last = self.last(entry.owed.slot)
        if last is None or last.bar_close_ms < entry.owed.slot.bar_close_ms:
            last = LastSlot(
                entry.owed.slot.bar_close_ms,
                (entry.partition, entry.offset),
                batch.subscription_offset,
                batch.part,
            )
            rules.slots[entry.owed.slot.series] = last
        last.part = batch.part
        last.deliveries.update(batch.deliveries)
        reached = entry.offset + 1 if last.complete else entry.offset
        rules.cursor[entry.partition] = max(rules.cursor.get(entry.partition, 0), reached)
        rules.position = position

    def recorded(self, control: Record, *, base: int, position: int) -> None:
        """A control record of ours is valid in the log."""
        self.rules.take(base, control.key, control.value, None)
        self.rules.position = position

    def checkpoint(self, *, epoch: int, now_ns: int) -> Checkpoint | None:
        """The fold as a record; None between the batches of one slot, which a checkpoint cannot tell."""
        if self.rules.open_slot:
            return None
        return self.rules.checkpoint(epoch=epoch, claims=self._epochs.claims, now_ns=now_ns)
