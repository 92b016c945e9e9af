"""One user's own signals out of `user.signals`, by the rules every reader applies.

A log has no index. A read begins where a sequence mark says that the user's signals lie, looks only at what
is the user's by its key or is about the partition, and ends after a bounded number of records; what it did
not reach is for the next read. Without a mark it begins at most that number of records before the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final, Self

from pydantic import ValidationError

from messaging.claims import EpochFilter
from messaging.marks import Mark, SignalMarks
from messaging.ports import EventBus, LogRecord
from messaging.topics import SIGNALS, partition_of
from models.errors import BadValue
from models.events import CLAIM_KEY, UNDELIVERED_KEY
from models.principal import Principal
from signals.reader import SignalHead, SignalRules, Verdict

MAX_SCAN: Final = 20_000
"""Records that one read looks at."""
MOST_READS: Final = 8
"""For one signal."""
_CONTROL: Final = frozenset({CLAIM_KEY, UNDELIVERED_KEY})


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a user's partition and the last claim before it: where a read ended, and another goes on.

    `str` and `parse` turn it into an opaque word for clients. One that is made up misleads nobody but its
    caller: what is read is the caller's own by its key all the same.
    """

    offset: int
    epoch: int

    def __str__(self) -> str:
        return f"{self.offset}.{self.epoch}"

    def claims(self) -> EpochFilter:
        """What a reader that begins here knows."""
        return EpochFilter((self.epoch,) if self.epoch >= 0 else ())

    @classmethod
    def parse(cls, text: str) -> Self:
        """BadValue, naming `cursor`, for anything but what `str` gave."""
        offset, _, epoch = text.partition(".")
        if not (offset.isdecimal() and epoch.removeprefix("-").isdecimal() and len(text) <= 40):
            raise BadValue("cursor was not one that an earlier page gave", field="cursor")
        return cls(int(offset), int(epoch))


@dataclass(frozen=True, slots=True)
class Found:
    """A valid signal of the user, as it lies in the log."""

    record: LogRecord
    head: SignalHead


@dataclass(slots=True)
class Stretch:
    """What one read found. `next` is where the next one goes on, `end` the end of the partition at its start.

    `complete` is false if signals between the asked sequence and the first found may have been passed over:
    retention or the marks did not reach back so far.
    """

    next: Place
    end: int
    complete: bool
    found: list[Found] = field(default_factory=list)

    @property
    def reached_end(self) -> bool:
        return self.next.offset >= self.end


@dataclass(frozen=True, slots=True)
class _Start:
    """Where to begin: with these claims known, or else at a mark, whose record tells them."""

    offset: int
    epochs: EpochFilter
    complete: bool
    marked: int | None = None


@dataclass(frozen=True, slots=True)
class _Bounds:
    """A user's partition, and the offsets [first, end) that it holds."""

    partition: int
    first: int
    end: int


class UserSignals:
    """Reads the valid signals of one user at a time; void, repeated and foreign records are passed over."""

    def __init__(self, bus: EventBus, marks: SignalMarks, *, max_scan: int = MAX_SCAN) -> None:
        self._bus = bus
        self._marks = marks
        self._max_scan = max_scan

    async def read(
        self, principal: Principal, since_seq: int, *, limit: int, at: Place | None = None
    ) -> Stretch:
        """The user's signals with a sequence above `since_seq`, oldest first, at most `limit`; `at` goes on
        where an earlier read ended.
        """
        bounds = await self._bounds(principal)
        if at:
            start = _Start(max(bounds.first, min(at.offset, bounds.end)), at.claims(), complete=True)
        else:
            marks = await self._marked(principal, bounds)
            start = self._begun(marks, since_seq, bounds) or await self._unmarked(bounds)
        return await self._read(principal, since_seq, bounds, start, limit=limit)

    def _begun(self, marks: Sequence[Mark], since_seq: int, bounds: _Bounds) -> _Start | None:
        """At the last mark before what is asked for. Where that is missing (who should have written it died),
        at the beginning, if one read reaches from there to the first mark that there is; else at that one.
        """
        before = [mark for mark in marks if mark.sequence <= since_seq + 1]
        if before or not marks:
            return _at(before[-1:], complete=True)
        if marks[0].offset - bounds.first <= self._max_scan:
            return _Start(bounds.first, EpochFilter(), complete=False)
        return _at(marks[:1], complete=False)

    async def find(self, principal: Principal, sequence: int) -> Found | None:
        """The user's signal with this sequence; None if it is not there, or lies further than `MOST_READS`
        behind the mark before it.
        """
        stretch = await self.read(principal, sequence - 1, limit=1)
        for _ in range(MOST_READS - 1):
            if stretch.found or stretch.reached_end:
                break
            stretch = await self.read(principal, sequence - 1, limit=1, at=stretch.next)
        return next((found for found in stretch.found if found.head.sequence == sequence), None)

    async def latest(self, principal: Principal) -> Stretch:
        """The user's last signals, as far back as one read reaches."""
        bounds = await self._bounds(principal)
        marks = await self._marked(principal, bounds)
        near = [mark for mark in marks if mark.offset >= bounds.end - self._max_scan]
        start = _at(near[:1], complete=True) or await self._unmarked(bounds)
        return await self._read(principal, 0, bounds, start, limit=self._max_scan)

    async def _bounds(self, principal: Principal) -> _Bounds:
        partition = partition_of(principal.user_id.encode(), SIGNALS.partitions)
        return _Bounds(partition, *await self._bus.bounds(SIGNALS.name, partition))

    async def _marked(self, principal: Principal, bounds: _Bounds) -> list[Mark]:
        """The user's marks in the log as it is now."""
        marks = (await self._marks.of(bounds.partition)).of(principal.user_id)
        return [mark for mark in marks if bounds.first <= mark.offset < bounds.end]

    async def _unmarked(self, bounds: _Bounds) -> _Start:
        """Near the end, if the claims before that are known; else at the beginning, where none are needed."""
        checkpoint = (await self._marks.of(bounds.partition)).checkpoint()
        if checkpoint is None:
            return _Start(bounds.first, EpochFilter(), complete=True)
        offset = max(bounds.first, min(bounds.end - self._max_scan, checkpoint.position))
        return _Start(offset, EpochFilter(checkpoint.claims), complete=offset == bounds.first)

    async def _read(
        self, principal: Principal, since_seq: int, bounds: _Bounds, start: _Start, *, limit: int
    ) -> Stretch:
        """From the start; from another one if that turns out to be a mark that is not true."""
        reading = _Reading(principal, since_seq, start, end=bounds.end)
        if not await self._run(reading, bounds.partition, limit):
            reading = _Reading(principal, since_seq, await self._unmarked(bounds), end=bounds.end)
            await self._run(reading, bounds.partition, limit)
        return reading.stretch

    async def _run(self, reading: _Reading, partition: int, limit: int) -> bool:
        """False if the read began at a mark that was not true."""
        start = reading.stretch.next.offset
        stop = min(reading.stretch.end, start + self._max_scan)
        if start >= stop:
            return True
        async with aclosing(self._bus.read(SIGNALS.name, partition, start, stop)) as batches:
            async for records in batches:
                if not reading.trusts(records[0]):
                    return False
                if reading.take(records, limit):
                    return True
        reading.ended(stop)
        return True


class _Reading:
    """One read under way: judges the records that concern the user, and keeps what is valid."""

    def __init__(self, principal: Principal, since_seq: int, start: _Start, *, end: int) -> None:
        self._key: Final = principal.user_id.encode()
        self._tenant = principal.tenant_id
        self._since_seq = since_seq
        self._marked = start.marked
        self._epochs = start.epochs
        self._rules = SignalRules(self._epochs)
        self.stretch: Final = Stretch(
            Place(start.offset, _last(self._epochs)), end=end, complete=start.complete
        )

    def trusts(self, first: LogRecord) -> bool:
        """Whether a read that began at a mark found there what the mark says. That record was valid when it
        was marked, so its epoch is the last claim before it.
        """
        marked, self._marked = self._marked, None
        if marked is None:
            return True
        head = _head(first) if first.key == self._key and first.offset == self.stretch.next.offset else None
        if head is None or head.sequence != marked:
            return False
        self._epochs.saw_claim(head.epoch)
        return True

    def take(self, records: Sequence[LogRecord], limit: int) -> bool:
        """Judge the next records; True once there are `limit` signals."""
        found = self.stretch.found
        for record in records:
            if record.key == self._key or record.key in _CONTROL:
                self._judge(record)
                if len(found) >= limit:
                    self.ended(record.offset + 1)
                    return True
        return False

    def ended(self, offset: int) -> None:
        """Nothing before this offset is left to look at."""
        self.stretch.next = Place(offset, _last(self._epochs))

    def _judge(self, record: LogRecord) -> None:
        reading = self._rules.take(record.offset, record.key, record.value, now_ns=None)
        head = reading.head
        if reading.verdict is not Verdict.ACCEPTED or head is None or head.tenant_id != self._tenant:
            return
        if head.sequence <= self._since_seq + 1:
            self.stretch.complete = True
        if head.sequence > self._since_seq:
            self.stretch.found.append(Found(record, head))


def _at(marks: Sequence[Mark], *, complete: bool) -> _Start | None:
    return _Start(marks[0].offset, EpochFilter(), complete, marks[0].sequence) if marks else None


def _last(epochs: EpochFilter) -> int:
    return epochs.claims[-1] if epochs.claims else -1


def _head(record: LogRecord) -> SignalHead | None:
    try:
        return SignalHead.from_record(record.value or b"")
    except ValidationError:
        return None
