"""One owned partition of `user.signals`: takes what is owed, in order, and settles it for its users.

A slot is settled when each of its subscribers here has a signal in the log, or the slot is recorded as
undelivered. What waits together goes in one append, each slot whole. Memory moves only once the log has it:
an entry leaves the inbox, and the fold takes a batch in, after the append was acknowledged and judged. So
whatever ends the lease, the next owner finds the truth.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from deployments.fanout.batches import Ahead, Batch, Renderer, Turns
from deployments.fanout.books import Books, LiveBook
from deployments.fanout.checkpoints import CheckpointWriter
from deployments.fanout.config import FanoutTimings
from deployments.fanout.dues import Due, Dues
from deployments.fanout.fold import Fold
from deployments.fanout.halted import LiveHalts
from deployments.fanout.predictions import Entry, Inbox
from deployments.fanout.tally import Tally
from messaging.lease import Lease
from messaging.ports import Record
from models.events import BEAT_KEY, UNDELIVERED_KEY, Beat, Undelivered, UndeliveredReason
from models.prediction import Slot
from models.strategy import Strategy, StrategyRef
from signals.encoding import Body, encode
from signals.reader import Series, SignalHead
from signals.terms import Terms

_OFTENER: Final = 10
"""A checkpoint is written at the latest after so many times `checkpoint_s`."""
_SHORTEST_S: Final = 0.25
"""An append that left just before its signals expired is still given a round trip."""
_TOGETHER: Final = 256
"""Entries looked at, and records after which no further entry joins an append."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What all partitions of a worker share."""

    books: Books
    checkpoints: CheckpointWriter
    strategies: Mapping[StrategyRef, Strategy]
    tally: Tally
    turns: Turns
    halts: LiveHalts
    clock: Callable[[], int]
    timings: FanoutTimings


@dataclass(frozen=True, slots=True)
class Parcel:
    """What settles an entry: a batch of signals, or else the record of why there is none.

    `place` counts the waiting entries up to this one. `large`: it takes several appends, and goes alone.
    """

    entry: Entry
    due: Due
    records: Sequence[Record]
    batch: Batch | None
    reason: UndeliveredReason | None
    place: int
    large: bool = False


class OwnedPartition:
    """Lives as long as its lease; owned by the one task in `run`."""

    def __init__(self, lease: Lease, *, fold: Fold, live: LiveBook, inbox: Inbox, tools: Tools) -> None:
        self.lease = lease
        self.fold = fold
        self.live = live
        self.inbox = inbox
        self._tools = tools
        self._dues = Dues(
            lease.partition,
            fold=fold,
            live=live,
            books=tools.books,
            strategies=tools.strategies,
            clock_error_ns=tools.timings.clock_error_ns,
        )
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
        parcels, seen = await self._collect()
        if not parcels:
            return seen
        if parcels[0].large:
            await self._settle_in_parts(parcels[0].entry, parcels[0].due)
            return parcels[0].place
        kept = self._fitting(parcels)
        await self._ship(kept)
        return seen if len(kept) == len(parcels) else parcels[len(kept)].place - 1

    async def _collect(self) -> tuple[list[Parcel], int]:
        """Parcels for the entries that wait, and how many were looked at; all on the same halts."""
        while True:
            before = await self._tools.halts.version()
            collected = await self._collect_once()
            if self._tools.halts.same(before):
                return collected

    async def _collect_once(self) -> tuple[list[Parcel], int]:
        """An entry that takes several appends, or of which a part is in the log already, goes alone."""
        parcels: list[Parcel] = []
        closes: dict[Series, int] = {}
        ahead = Ahead(self.fold.rules.standing.above())
        seen = 0
        for entry in self.inbox.waiting(_TOGETHER):
            due = await self._dues.of(entry, closes)
            parcel = None
            if due and (due.subscribers or due.parts):
                parcel = await self._parcel(entry, due, ahead, place=seen + 1)
                if parcel.large and parcels:
                    break
                parcels.append(parcel)
                closes[entry.owed.slot.series] = entry.owed.slot.bar_close_ms
            seen += 1
            if parcel and (parcel.large or sum(len(one.records) for one in parcels) >= _TOGETHER):
                break
        return parcels, seen

    def _fitting(self, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        """The first parcels, as many as fit one append whole."""
        room = self.lease.fits([record for parcel in parcels for record in parcel.records])
        count = 0
        for parcel in parcels:
            room -= len(parcel.records)
            if room < 0:
                break
            count += 1
        return parcels[:count]

    async def _parcel(self, entry: Entry, due: Due, ahead: Ahead, *, place: int) -> Parcel:
        """`ahead` is what the parcels before this one change; this one's changes are added."""
        if not due.subscribers:
            return self._note(entry, due, UndeliveredReason.PUBLISH_FAILED, place=place)
        if self._expired(entry):
            inherited = entry.timestamp_ms < self.fold.claimed_ms
            reason = UndeliveredReason.NO_OWNER if inherited else UndeliveredReason.EXPIRED
            return self._note(entry, due, reason, place=place)
        renderer = self._renderer(entry, due, ahead)
        outcomes = renderer.outcomes(due.subscribers)
        sizes = renderer.cut(due.subscribers, outcomes, self.lease.batch_bytes)
        if not sizes:
            return self._note(entry, due, UndeliveredReason.PUBLISH_FAILED, place=place)
        if due.parts or len(sizes) > 1:
            return Parcel(entry, due, (), None, None, place, large=True)
        batch = await renderer.batch(due.subscribers, outcomes, (1, 1))
        ahead.add(batch)
        return Parcel(entry, due, batch.records, batch, None, place)

    def _renderer(self, entry: Entry, due: Due, ahead: Ahead) -> Renderer:
        return Renderer(
            entry=entry,
            body=self._body(entry),
            terms=Terms(entry.owed, standing=ahead.standing, halts=self._tools.halts.in_force()),
            epoch=self.lease.epoch,
            subscription_offset=due.subscription_offset,
            sequences=self.fold.rules.sequences,
            ahead=ahead.sequences,
            clock=self._tools.clock,
            turns=self._tools.turns,
        )

    async def _settle_in_parts(self, entry: Entry, due: Due) -> None:
        """Several appends; each is built when the one before is known to be valid, and on the halts of then.
        A halt can make the rest smaller or larger, so it is cut anew each time.
        """
        while due.subscribers:
            if self._expired(entry):
                await self._ship([self._note(entry, due, UndeliveredReason.EXPIRED, place=1)])
                return
            batch = await self._next_part(entry, due)
            if batch is None:
                await self._ship([self._note(entry, due, UndeliveredReason.PUBLISH_FAILED, place=1)])
                return
            await self._ship([Parcel(entry, due, batch.records, batch, None, 1)])
            due = Due(due.subscribers[len(batch.records) :], due.subscription_offset, due.parts + 1)

    async def _next_part(self, entry: Entry, due: Due) -> Batch | None:
        """The next append of an entry that takes several; None if not even one signal fits."""
        while True:
            before = await self._tools.halts.version()
            renderer = self._renderer(entry, due, Ahead(self.fold.rules.standing))
            outcomes = renderer.outcomes(due.subscribers)
            sizes = renderer.cut(due.subscribers, outcomes, self.lease.batch_bytes)
            if not sizes:
                return None
            part, size = (due.parts + 1, due.parts + len(sizes)), sizes[0]
            batch = await renderer.batch(due.subscribers[:size], outcomes[:size], part)
            if self._tools.halts.same(before):
                return batch

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
        late = [parcel for parcel in parcels if parcel.batch and self._expired(parcel.entry)]
        if late:
            await self._ship([self._note(p.entry, p.due, UndeliveredReason.EXPIRED, place=0) for p in late])

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

    def _note(self, entry: Entry, due: Due, reason: UndeliveredReason, *, place: int) -> Parcel:
        """That the slot is not delivered (in time)."""
        record = self._undelivered(
            entry.owed.slot,
            reason,
            source=(entry.partition, entry.offset),
            subscription_offset=due.subscription_offset,
            count=len(due.subscribers),
        )
        return Parcel(entry, due, [record], None, reason, place)

    async def _record_late(self) -> None:
        """Finish what an earlier owner could not: its signals landed late, and it did not live to say so."""
        for head, count in self.fold.late.values():
            last = self.fold.rules.slots[head.series]
            if last.complete or last.bar_close_ms != head.bar_close_ms:
                record = self._undelivered(
                    head,
                    UndeliveredReason.EXPIRED,
                    source=(head.source.partition, head.source.offset),
                    subscription_offset=head.subscription_offset,
                    count=count,
                )
                await self._record(record)
                self._tools.tally.undelivered(UndeliveredReason.EXPIRED)
        self.fold.late.clear()

    def _undelivered(
        self,
        slot: Slot | SignalHead,
        reason: UndeliveredReason,
        *,
        source: tuple[int, int],
        subscription_offset: int,
        count: int,
    ) -> Record:
        undelivered = Undelivered(
            epoch=self.lease.epoch,
            signal_id=slot.signal_id,
            strategy=slot.strategy,
            symbol=slot.symbol,
            horizon_ms=slot.horizon_ms,
            bar_close_ms=slot.bar_close_ms,
            source_partition=source[0],
            source_offset=source[1],
            reason=reason,
            subscription_offset=subscription_offset,
            count=count,
            now_ns=self._tools.clock(),
        )
        return Record(UNDELIVERED_KEY, encode(undelivered))

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

    def _expired(self, entry: Entry) -> bool:
        now_ns = self._tools.clock() + self._tools.timings.clock_error_ns
        return now_ns >= entry.owed.expires_ns

    def _body(self, entry: Entry) -> Body:
        policy = self._tools.strategies[entry.owed.slot.strategy].policy
        return entry.body(policy, clock_error_ns=self._tools.timings.clock_error_ns)

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
