"""The rules of reading, applied to one partition: pure, and able to go on from what was settled.

In order: the claim that gives a record its standing, the envelope, the schema, order and repeats, the gap
before it, its expiry. An expired repeat is a repeat: so an expiry is put down once, like an effect.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from pydantic import ValidationError

from deployments.reader.ports import Settled, SlotState
from messaging.claims import EpochFilter
from messaging.ports import LogRecord
from messaging.topics import SIGNALS, partition_of
from models.signal import Signal
from signals.encoding import check_signal
from signals.reader import LastSlot, Series, SignalHead, SignalRules, Verdict

MAX_VALUE: Final = 64 * 1024
"""Bytes; a signal has two thousand."""
POISON: Final = frozenset({Verdict.UNDECODABLE, Verdict.MISADDRESSED, Verdict.FORGED})
_FOR_USERS: Final = frozenset({Verdict.ACCEPTED, Verdict.EXPIRED})


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on a record. `signal` is there if it is for a wanted user and is to have its effect, or to
    be put down as expired; `missed` are numbers of that user that were never seen before it.
    """

    record: LogRecord
    verdict: Verdict
    signal: Signal | None = None
    missed: int = 0
    detail: str = ""


class PartitionFold:
    """Takes the records of one partition in log order; owned by one task. `position` is the next offset."""

    def __init__(
        self,
        position: int,
        epochs: EpochFilter,
        settled: Settled | None,
        *,
        wanted: Callable[[str], bool],
        partitions: int = SIGNALS.partitions,
    ) -> None:
        self._partitions = partitions
        self._epochs = epochs
        self._wanted = wanted
        self._rules = SignalRules(epochs, settled.sequences if settled else None)
        self._rules.position = position
        self._moved: set[str] = set()
        self._last_series: Series | None = None
        for series, slot in (settled.slots if settled else {}).items():
            resumed = self._rules.slots[series] = _resumed(slot)
            if resumed.complete and not slot.sealed:
                self._last_series = series

    @property
    def position(self) -> int:
        return self._rules.position

    def take(self, record: LogRecord, now_ns: int) -> Judged:
        """Judge the next record."""
        if len(record.value or b"") > MAX_VALUE:
            self._rules.position = record.offset + 1
            return Judged(record, Verdict.UNDECODABLE, detail=f"larger than {MAX_VALUE} bytes")
        reading = self._rules.take(record.offset, record.key, record.value, now_ns)
        head = reading.head
        if head is None or reading.verdict in {Verdict.VOID, *POISON}:
            return Judged(record, reading.verdict, detail=reading.detail)
        self._moved.add(head.user_id)
        if reading.verdict not in _FOR_USERS:
            return Judged(record, reading.verdict, detail=reading.detail)
        self._last_series = head.series
        return self._for_user(record, reading.verdict, head, reading.missed)

    def settled(self) -> Settled:
        """What holds once all that was taken has had its effect, with the users who moved since the last
        call.

        The slot that was touched last keeps its deliveries, whether or not it calls itself complete: the rest
        of its batch may be still to come. Of older ones nothing can come.
        """
        moved, self._moved = self._moved, set()
        return Settled(
            position=self._rules.position,
            claims=self._epochs.claims,
            sequences={user: self._rules.sequences[user] for user in moved},
            slots={
                series: _state(slot, last=series == self._last_series)
                for series, slot in self._rules.slots.items()
            },
        )

    def _for_user(self, record: LogRecord, verdict: Verdict, head: SignalHead, missed: int) -> Judged:
        """All of the signal is read, and checked, for those who act on it only: the rest costs a tenth."""
        if not self._wanted(head.user_id):
            return Judged(record, verdict)
        if (home := _home(record.key, self._partitions)) != record.partition:
            return Judged(record, Verdict.MISADDRESSED, missed=missed, detail=f"belongs to partition {home}")
        try:
            signal = Signal.from_record(record.value or b"")
        except ValidationError as error:
            return Judged(record, Verdict.UNDECODABLE, missed=missed, detail=str(error.errors()[0]["msg"]))
        if wrong := check_signal(signal):
            return Judged(record, Verdict.FORGED, missed=missed, detail="; ".join(wrong))
        return Judged(record, verdict, signal, missed)


def expired(signal: Signal, now_ns: int, *, clock_error_ns: int) -> bool:
    """Whether nobody may act on it any more, by a clock that may be wrong by that much."""
    return now_ns + signal.clock_error_ns + clock_error_ns >= signal.expires_ns


@lru_cache(maxsize=100_000)
def _home(key: bytes, partitions: int) -> int:
    return partition_of(key, partitions)


def _state(slot: LastSlot, *, last: bool) -> SlotState:
    if slot.sealed or (slot.complete and not last):
        return SlotState(slot.bar_close_ms, slot.part, sealed=True)
    return SlotState(slot.bar_close_ms, slot.part, sealed=False, deliveries=frozenset(slot.deliveries))


def _resumed(state: SlotState) -> LastSlot:
    """Source and subscriptions are the owner's business, not a reader's."""
    return LastSlot(
        state.bar_close_ms, (-1, -1), -1, state.part, deliveries=set(state.deliveries), sealed=state.sealed
    )
