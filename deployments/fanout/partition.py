"""One owned partition of `user.signals`: takes what is owed, in order, and settles it for its users.

A slot is settled when each of its subscribers here has a signal in the log, or the slot is recorded as
undelivered. Memory moves only once the log has it: an entry leaves the inbox, and the fold takes a batch in,
after the batch was acknowledged and judged. So whatever ends the lease, the next owner finds the truth.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from deployments.fanout.batches import Batch, Renderer, Turns
from deployments.fanout.books import GRACE_MS, Books, LiveBook
from deployments.fanout.checkpoints import CheckpointWriter
from deployments.fanout.config import FanoutTimings
from deployments.fanout.fold import Fold
from deployments.fanout.predictions import Entry, Inbox
from deployments.fanout.tally import Tally
from messaging.lease import Lease
from messaging.ports import Record
from models.events import BEAT_KEY, UNDELIVERED_KEY, Beat, Undelivered, UndeliveredReason
from models.prediction import Slot
from models.strategy import Strategy, StrategyRef
from signals.encoding import Body, encode
from signals.projection import Book, Subscriber
from signals.reader import SignalHead

log = logging.getLogger("ray.serve")


@dataclass(frozen=True, slots=True)
class Tools:
    """What all partitions of a worker share."""

    books: Books
    checkpoints: CheckpointWriter
    strategies: Mapping[StrategyRef, Strategy]
    tally: Tally
    turns: Turns
    clock: Callable[[], int]
    timings: FanoutTimings


@dataclass(frozen=True, slots=True)
class Due:
    """Who is still to receive a slot, as of which subscriptions, and how many batches are in the log."""

    subscribers: Sequence[Subscriber]
    subscription_offset: int
    parts: int = 0


class OwnedPartition:
    """Lives as long as its lease; owned by the one task in `run`."""

    def __init__(self, lease: Lease, *, fold: Fold, live: LiveBook, inbox: Inbox, tools: Tools) -> None:
        self.lease = lease
        self.fold = fold
        self.live = live
        self.inbox = inbox
        self._tools = tools
        self._next_beat_s = _next_multiple(tools.timings.beat_s)
        self._next_checkpoint_s = 0.0

    async def run(self) -> NoReturn:
        """Settle what is owed and say that we live, until the lease is lost."""
        await self._record_late()
        while True:
            self._checkpoint_if_due()
            entry = await self.inbox.head(until_s=self._next_beat_s)
            if entry:
                await self._settle(entry)
                self.inbox.done()
            if asyncio.get_running_loop().time() >= self._next_beat_s:
                await self._beat()

    async def _settle(self, entry: Entry) -> None:
        """Deliver the slot to everybody who is still owed it, or record why it is not delivered."""
        due = await self._due(entry)
        if due is None:
            return
        if not due.subscribers:
            if due.parts:
                await self._undelivered(entry, UndeliveredReason.PUBLISH_FAILED, due)
        elif self._expired(entry):
            inherited = entry.timestamp_ms < self.fold.claimed_ms
            reason = UndeliveredReason.NO_OWNER if inherited else UndeliveredReason.EXPIRED
            await self._undelivered(entry, reason, due)
        else:
            await self._publish(entry, due)

    async def _due(self, entry: Entry) -> Due | None:
        """None if the slot is settled already: by us, by an earlier owner, or by a later slot of its series.

        A slot of which an earlier owner delivered a part is finished as of the same subscriptions.
        """
        slot, at_ns = entry.owed.slot, entry.owed.generated_ns
        if slot.strategy not in self._tools.strategies:
            log.warning("strategy %s is not configured here; its slots reach nobody", slot.strategy)
            return None
        last = self.fold.last(slot)
        if last is None or last.bar_close_ms < slot.bar_close_ms:
            book = await self._book_for(entry)
            return Due(book.subscribers(slot.strategy, slot.symbol, at_ns=at_ns), book.offset)
        if last.bar_close_ms > slot.bar_close_ms or last.complete:
            return None
        book = await self._tools.books.before(self.lease.partition, last.subscription_offset + 1)
        everybody = book.subscribers(slot.strategy, slot.symbol, at_ns=at_ns)
        delivered, body = last.deliveries, self._body(entry)
        rest = [one for one in everybody if body.delivery_id(one) not in delivered]
        return Due(rest, last.subscription_offset, last.part[0])

    async def _book_for(self, entry: Entry) -> Book:
        """The subscriptions as they were when the slot was predicted, give or take the grace time."""
        await self._tools.books.catch_up(self.live)
        if self.live.changed_ms > entry.timestamp_ms + GRACE_MS:
            return await self._tools.books.at(self.lease.partition, entry.timestamp_ms)
        return self.live.book

    async def _publish(self, entry: Entry, due: Due) -> None:
        """One batch, or as many as it takes; each is built when the one before is known to be valid.

        What was acknowledged after the expiry may have come too late for its readers: that is recorded too.
        For those who had it in time the signal stands.
        """
        renderer = Renderer(
            entry=entry,
            body=self._body(entry),
            epoch=self.lease.epoch,
            subscription_offset=due.subscription_offset,
            sequences=self.fold.rules.sequences,
            clock=self._tools.clock,
            turns=self._tools.turns,
        )
        only = await renderer.batch(due.subscribers, (due.parts + 1, due.parts + 1))
        if self.lease.fits(only.records) == len(only.records):
            await self._append(only, due.subscribers)
        else:
            await self._publish_parts(entry, due, renderer)
        if self._expired(entry):
            await self._undelivered(entry, UndeliveredReason.EXPIRED, due)

    async def _publish_parts(self, entry: Entry, due: Due, renderer: Renderer) -> None:
        sizes = await renderer.cut(due.subscribers, self.lease.fits)
        if not sizes:
            await self._undelivered(entry, UndeliveredReason.PUBLISH_FAILED, due)
        rest = due.subscribers
        for part, size in enumerate(sizes, start=due.parts + 1):
            if self._expired(entry):
                return
            batch = await renderer.batch(rest[:size], (part, due.parts + len(sizes)))
            await self._append(batch, rest[:size])
            rest = rest[size:]

    async def _append(self, batch: Batch, subscribers: Sequence[Subscriber]) -> None:
        projected_ns = self._tools.clock()
        await self.lease.append(batch.records)
        acked_ns = self._tools.clock()
        self.fold.published(batch, position=self.lease.position)
        self._measure(batch, subscribers, projected_ns=projected_ns, acked_ns=acked_ns)

    async def _undelivered(self, entry: Entry, reason: UndeliveredReason, due: Due) -> None:
        await self._record_undelivered(
            entry.owed.slot,
            reason,
            source=(entry.partition, entry.offset),
            subscription_offset=due.subscription_offset,
            count=len(due.subscribers),
        )

    async def _record_late(self) -> None:
        """Finish what an earlier owner could not: its signals landed late, and it did not live to say so."""
        for series, head in self.fold.late.items():
            last = self.fold.rules.slots[series]
            if last.complete:
                await self._record_undelivered(
                    head,
                    UndeliveredReason.EXPIRED,
                    source=last.source,
                    subscription_offset=last.subscription_offset,
                    count=len(last.deliveries),
                )

    async def _record_undelivered(
        self,
        slot: Slot | SignalHead,
        reason: UndeliveredReason,
        *,
        source: tuple[int, int],
        subscription_offset: int,
        count: int,
    ) -> None:
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
        await self._record(Record(UNDELIVERED_KEY, encode(undelivered)))
        self._tools.tally.undelivered(reason)

    async def _beat(self) -> None:
        """Say that we live and how far we are; also how an idle owner learns that it is fenced."""
        cursor = {str(partition): offset for partition, offset in self.inbox.cursor().items()}
        beat = Beat(epoch=self.lease.epoch, cursor=cursor, now_ns=self._tools.clock())
        await self._record(Record(BEAT_KEY, encode(beat)))
        self._next_beat_s = _next_multiple(self._tools.timings.beat_s)

    async def _record(self, control: Record) -> None:
        base = await self.lease.append([control])
        self.fold.recorded(control, base=base, position=self.lease.position)

    def _checkpoint_if_due(self) -> None:
        """Nothing is in flight and everything before the position is judged, so the fold is final."""
        now_s = asyncio.get_running_loop().time()
        if now_s < self._next_checkpoint_s:
            return
        checkpoint = self.fold.checkpoint(epoch=self.lease.epoch, now_ns=self._tools.clock())
        if checkpoint:
            self._tools.checkpoints.offer(self.lease.partition, checkpoint)
            self._next_checkpoint_s = now_s + self._tools.timings.checkpoint_s

    def _expired(self, entry: Entry) -> bool:
        now_ns = self._tools.clock() + self._tools.timings.clock_error_ns
        return now_ns >= entry.owed.expires_ns

    def _body(self, entry: Entry) -> Body:
        policy = self._tools.strategies[entry.owed.slot.strategy].policy
        return entry.body(policy, clock_error_ns=self._tools.timings.clock_error_ns)

    def _measure(
        self, batch: Batch, subscribers: Sequence[Subscriber], *, projected_ns: int, acked_ns: int
    ) -> None:
        owed, body = batch.entry.owed, self._body(batch.entry)
        kinds: Counter[str] = Counter()
        for bounds, count in Counter(one.bounds for one in subscribers).items():
            kinds[body.kind(bounds)] += count
        self._tools.tally.published(owed.slot.strategy, kinds)
        self._tools.tally.stages(
            owed.slot.signal_id, owed.stages, projected_ns=projected_ns, acked_ns=acked_ns
        )


def _next_multiple(period_s: float) -> float:
    """All partitions beat together, so that they share requests to the broker."""
    return (asyncio.get_running_loop().time() // period_s + 1) * period_s
