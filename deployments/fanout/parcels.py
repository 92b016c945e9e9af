"""What settles the slots that wait, packed as appends: signals for a slot's users, or why there are none.

Nothing here writes or remembers anything: `partition.py` ships a parcel and lets memory follow the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from deployments.fanout.batches import Ahead, Batch, Renderer, Turns
from deployments.fanout.books import Books
from deployments.fanout.checkpoints import CheckpointWriter
from deployments.fanout.config import FanoutTimings
from deployments.fanout.dues import Due, Dues
from deployments.fanout.fold import Fold
from deployments.fanout.halted import LiveHalts
from deployments.fanout.predictions import Entry
from deployments.fanout.tally import Tally
from messaging.lease import Lease
from messaging.ports import Record
from models.events import UNDELIVERED_KEY, Undelivered, UndeliveredReason
from models.prediction import Slot
from models.strategy import Strategy, StrategyRef
from signals.encoding import Body, encode
from signals.reader import Series, SignalHead
from signals.terms import Terms

TOGETHER: Final = 256
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


class Packer:
    """Packs for one owned partition, as its fold, its lease and the halts are at that moment."""

    def __init__(self, lease: Lease, *, fold: Fold, dues: Dues, tools: Tools) -> None:
        self._lease = lease
        self._fold = fold
        self._dues = dues
        self._tools = tools

    async def together(self, waiting: Sequence[Entry]) -> tuple[list[Parcel], int]:
        """Parcels for the entries that wait, and how many were looked at; all on the same halts."""
        while True:
            before = await self._tools.halts.version()
            packed = await self._packed(waiting)
            if self._tools.halts.same(before):
                return packed

    async def part(self, entry: Entry, due: Due) -> Parcel:
        """The next append of an entry that takes several, or why there is no more."""
        while True:
            if self.expired(entry):
                return self.note(entry, due, UndeliveredReason.EXPIRED)
            before = await self._tools.halts.version()
            parcel = await self._part(entry, due)
            if self._tools.halts.same(before):
                return parcel

    def fitting(self, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        """The first parcels, as many as fit one append whole; a single one was made to."""
        if len(parcels) == 1:
            return parcels
        room = self._lease.fits([record for parcel in parcels for record in parcel.records])
        count = 0
        for parcel in parcels:
            room -= len(parcel.records)
            if room < 0:
                break
            count += 1
        return parcels[:count]

    def note(self, entry: Entry, due: Due, reason: UndeliveredReason, *, place: int = 1) -> Parcel:
        """That the slot is not delivered (in time)."""
        record = self.undelivered(
            entry.owed.slot,
            reason,
            source=(entry.partition, entry.offset),
            subscription_offset=due.subscription_offset,
            count=len(due.subscribers),
        )
        return Parcel(entry, due, [record], None, reason, place)

    def undelivered(
        self,
        slot: Slot | SignalHead,
        reason: UndeliveredReason,
        *,
        source: tuple[int, int],
        subscription_offset: int,
        count: int,
    ) -> Record:
        """The record that a slot, or the rest of it, reached nobody here in time."""
        undelivered = Undelivered(
            epoch=self._lease.epoch,
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

    def expired(self, entry: Entry) -> bool:
        """Whether nobody may act on it any more, as far as clocks can be trusted."""
        now_ns = self._tools.clock() + self._tools.timings.clock_error_ns
        return now_ns >= entry.owed.expires_ns

    async def _packed(self, waiting: Iterable[Entry]) -> tuple[list[Parcel], int]:
        """An entry that takes several appends, or of which a part is in the log already, goes alone."""
        parcels: list[Parcel] = []
        closes: dict[Series, int] = {}
        ahead = Ahead(self._fold.rules.holdings.above())
        seen = 0
        for entry in waiting:
            due = await self._dues.of(entry, closes)
            parcel = None
            if due and (due.subscribers or due.parts):
                parcel = await self._parcel(entry, due, ahead, place=seen + 1)
                if parcel.large and parcels:
                    break
                parcels.append(parcel)
                closes[entry.owed.slot.series] = entry.owed.slot.bar_close_ms
            seen += 1
            if parcel and (parcel.large or sum(len(one.records) for one in parcels) >= TOGETHER):
                break
        return parcels, seen

    async def _parcel(self, entry: Entry, due: Due, ahead: Ahead, *, place: int) -> Parcel:
        """`ahead` is what the parcels before this one change; this one's changes are added."""
        if not due.subscribers:
            return self.note(entry, due, UndeliveredReason.PUBLISH_FAILED, place=place)
        if self.expired(entry):
            inherited = entry.timestamp_ms < self._fold.claimed_ms
            reason = UndeliveredReason.NO_OWNER if inherited else UndeliveredReason.EXPIRED
            return self.note(entry, due, reason, place=place)
        renderer = self._renderer(entry, due, ahead)
        outcomes = await renderer.outcomes(due.subscribers)
        sizes = renderer.cut(due.subscribers, outcomes, self._lease.batch_bytes)
        if not sizes:
            return self.note(entry, due, UndeliveredReason.PUBLISH_FAILED, place=place)
        if due.parts or len(sizes) > 1:
            return Parcel(entry, due, (), None, None, place, large=True)
        batch = await renderer.batch(due.subscribers, outcomes, (1, 1))
        ahead.add(batch)
        return Parcel(entry, due, batch.records, batch, None, place)

    async def _part(self, entry: Entry, due: Due) -> Parcel:
        """A halt can make what is left smaller or larger, so it is cut anew for each part."""
        renderer = self._renderer(entry, due, Ahead(self._fold.rules.holdings))
        outcomes = await renderer.outcomes(due.subscribers)
        sizes = renderer.cut(due.subscribers, outcomes, self._lease.batch_bytes)
        if not sizes:
            return self.note(entry, due, UndeliveredReason.PUBLISH_FAILED)
        part, size = (due.parts + 1, due.parts + len(sizes)), sizes[0]
        batch = await renderer.batch(due.subscribers[:size], outcomes[:size], part)
        return Parcel(entry, due, batch.records, batch, None, 1)

    def _renderer(self, entry: Entry, due: Due, ahead: Ahead) -> Renderer:
        return Renderer(
            entry=entry,
            body=self._body(entry),
            terms=Terms(entry.owed, holdings=ahead.holdings, halts=self._tools.halts.in_force()),
            epoch=self._lease.epoch,
            subscription_offset=due.subscription_offset,
            sequences=self._fold.rules.sequences,
            ahead=ahead.sequences,
            clock=self._tools.clock,
            turns=self._tools.turns,
        )

    def _body(self, entry: Entry) -> Body:
        policy = self._tools.strategies[entry.owed.slot.strategy].policy
        return entry.body(policy, clock_error_ns=self._tools.timings.clock_error_ns)
