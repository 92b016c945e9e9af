"""One owned partition of `user.signals`: takes what is owed, in order, and settles it for its users.

A slot is settled when each of its subscribers here has a signal in the log, or the slot is recorded as
undelivered. What waits together goes in one append, each slot whole. Memory moves only once the log has it:
an entry leaves the inbox, and the fold takes a batch in, after the append was acknowledged and judged. So
whatever ends the lease, the next owner finds the truth.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, NoReturn

from deployments.fanout.batches import Batch
from deployments.fanout.books import LiveBook
from deployments.fanout.dues import Due, Dues
from deployments.fanout.fold import Fold
from deployments.fanout.parcels import TOGETHER, Packer, Parcel, Tools
from deployments.fanout.predictions import Entry, Inbox
from messaging.lease import Lease
from messaging.ports import Record
from models.events import BEAT_KEY, Beat, UndeliveredReason
from signals.encoding import encode

_OFTENER: Final = 10
"""A checkpoint is written at the latest after so many times `checkpoint_s`."""
_SHORTEST_S: Final = 0.25
"""An append that left just before its signals expired is still given a round trip."""


class OwnedPartition:
    """Lives as long as its lease; owned by the one task in `run`."""

    def __init__(self, lease: Lease, *, fold: Fold, live: LiveBook, inbox: Inbox, tools: Tools) -> None:
        self.lease = lease
        self.fold = fold
        self.live = live
        self.inbox = inbox
        self._tools = tools
        dues = Dues(
            lease.partition,
            fold=fold,
            live=live,
            books=tools.books,
            strategies=tools.strategies,
            clock_error_ns=tools.timings.clock_error_ns,
        )
        self._packer = Packer(lease, fold=fold, dues=dues, tools=tools)
        self._next_beat_s = self._beat_after(0.0)
        self._next_checkpoint_s = self._latest_checkpoint_s = 0.0
        self._checkpointed = -1

    async def run(self) -> NoReturn:
        """Settle what is owed and say that we live, until the lease is lost."""
        await self._record_late()
        while True:
            self._checkpoint_if_due()
            if await self.inbox.head(until_s=self._next_beat_s):
                self.inbox.done(await self._settle_waiting())
            if asyncio.get_running_loop().time() >= self._next_beat_s:
                await self._beat()

    async def _settle_waiting(self) -> int:
        """Settle what waits, as much as one append takes; return how many entries that were."""
        parcels, seen = await self._packer.together(self.inbox.waiting(TOGETHER))
        if not parcels:
            return seen
        if parcels[0].large:
            await self._settle_in_parts(parcels[0].entry, parcels[0].due)
            return parcels[0].place
        kept = self._packer.fitting(parcels)
        await self._ship(kept)
        return seen if len(kept) == len(parcels) else parcels[len(kept)].place - 1

    async def _settle_in_parts(self, entry: Entry, due: Due) -> None:
        """Several appends; each is built when the one before is known to be valid."""
        while due.subscribers:
            parcel = await self._packer.part(entry, due)
            await self._ship([parcel])
            if parcel.batch is None:
                return
            due = Due(due.subscribers[len(parcel.records) :], due.subscription_offset, due.parts + 1)

    async def _ship(self, parcels: Sequence[Parcel]) -> None:
        """Append them as one batch; what they settle is true from then on.

        Signals that were acknowledged after their expiry may have come too late for their readers: that is
        recorded too. For those who had them in time they stand.
        """
        projected_ns = self._tools.clock()
        records = [record for parcel in parcels for record in parcel.records]
        base = await self.lease.append(records, within_s=self._within_s(parcels))
        acked_ns = self._tools.clock()
        await asyncio.sleep(0)  # the others that the same answer acknowledged look at the clock first
        self._next_beat_s = self._beat_after(self._tools.timings.beat_s)
        for parcel in parcels:
            self._settled(parcel, base=base, projected_ns=projected_ns, acked_ns=acked_ns)
            base += len(parcel.records)
        late = [parcel for parcel in parcels if parcel.batch and self._packer.expired(parcel.entry)]
        if late:
            await self._ship([self._packer.note(p.entry, p.due, UndeliveredReason.EXPIRED) for p in late])

    def _within_s(self, parcels: Sequence[Parcel]) -> float | None:
        """Until the last of the signals has expired: then their outcome is not worth waiting for."""
        expiries = [parcel.entry.owed.expires_ns for parcel in parcels if parcel.batch]
        if not expiries:
            return None
        return max(_SHORTEST_S, (max(expiries) - self._tools.clock()) / 1e9)

    def _settled(self, parcel: Parcel, *, base: int, projected_ns: int, acked_ns: int) -> None:
        """Let memory follow the log."""
        if parcel.batch:
            self.fold.published(parcel.batch, position=self.lease.position)
            self._tools.checkpoints.marks.note(
                self.lease.partition, base, parcel.records, parcel.batch.sequences
            )
            self._measure(parcel.batch, projected_ns=projected_ns, acked_ns=acked_ns)
        else:
            self.fold.recorded(parcel.records[0], base=base, position=self.lease.position)
        if parcel.reason:
            self._tools.tally.undelivered(parcel.reason)

    async def _record_late(self) -> None:
        """Finish what an earlier owner could not: its signals landed late, and it did not live to say so."""
        for head, count in self.fold.late.values():
            last = self.fold.rules.slots[head.series]
            if last.complete or last.bar_close_ms != head.bar_close_ms:
                record = self._packer.undelivered(
                    head,
                    UndeliveredReason.EXPIRED,
                    source=(head.source.partition, head.source.offset),
                    subscription_offset=head.subscription_offset,
                    count=count,
                )
                await self._record(record)
                self._tools.tally.undelivered(UndeliveredReason.EXPIRED)
        self.fold.late.clear()

    async def _beat(self) -> None:
        """Say that we live and how far we are, as batches do; so an idle owner learns that it is fenced."""
        cursor = {str(partition): offset for partition, offset in self.inbox.cursor().items()}
        beat = Beat(epoch=self.lease.epoch, cursor=cursor, now_ns=self._tools.clock())
        await self._record(Record(BEAT_KEY, encode(beat)))
        self._next_beat_s = self._beat_after(0.0)

    async def _record(self, control: Record) -> None:
        base = await self.lease.append([control])
        self.fold.recorded(control, base=base, position=self.lease.position)

    def _checkpoint_if_due(self) -> None:
        """Nothing is in flight and everything before the position is judged, so the fold is final."""
        now_s = asyncio.get_running_loop().time()
        if now_s < self._next_checkpoint_s or not self._worth_a_checkpoint(now_s):
            return
        checkpoint = self.fold.checkpoint(epoch=self.lease.epoch, now_ns=self._tools.clock())
        if checkpoint:
            self._tools.checkpoints.offer(self.lease.partition, checkpoint)
            self._checkpointed = checkpoint.position
            self._next_checkpoint_s = now_s + self._tools.timings.checkpoint_s
            self._latest_checkpoint_s = now_s + _OFTENER * self._tools.timings.checkpoint_s

    def _worth_a_checkpoint(self, now_s: float) -> bool:
        """One names every user, so it waits until about as many records would have to be read without it."""
        written = self.lease.position - self._checkpointed
        return written >= len(self.fold.rules.sequences) or now_s >= self._latest_checkpoint_s

    def _measure(self, batch: Batch, *, projected_ns: int, acked_ns: int) -> None:
        owed = batch.entry.owed
        self._tools.tally.published(owed.slot.strategy, batch.kinds)
        self._tools.tally.stages(
            owed.slot.signal_id, owed.stages, projected_ns=projected_ns, acked_ns=acked_ns
        )

    def _beat_after(self, quiet_s: float) -> float:
        """A moment at least so far away, common to all partitions, so that their beats share requests."""
        period_s = self._tools.timings.beat_s
        return ((asyncio.get_running_loop().time() + quiet_s) // period_s + 1) * period_s
