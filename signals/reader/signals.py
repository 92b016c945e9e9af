"""The rules for `user.signals`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from models.events import (
    BEAT_KEY,
    CLAIM_KEY,
    CONTROL_PREFIX,
    UNDELIVERED_KEY,
    Beat,
    Checkpoint,
    SeriesMark,
    Undelivered,
)
from models.signal import Signal
from signals.encoding import check_signal
from signals.holdings import Holdings
from signals.reader.heads import SignalHead
from signals.reader.standing import EpochRule, Series, Verdict, first_wrong, standing


@dataclass(frozen=True, slots=True)
class SignalReading:
    """The verdict on a record of `user.signals`. `missed` is how many of the user's sequence numbers were
    never seen before this one: the record counts, and the reader asks for the gap.
    """

    verdict: Verdict
    head: SignalHead | None = None
    control: Undelivered | Beat | None = None
    detail: str = ""
    missed: int = 0


@dataclass(slots=True)
class LastSlot:
    """The newest slot of a series in a partition, and what of it is valid in the log so far.

    `complete` once a batch that calls itself the last one is in, or the slot was recorded as undelivered.
    `sealed` if nothing more of it can be valid.
    """

    bar_close_ms: int
    source: tuple[int, int]
    subscription_offset: int
    part: tuple[int, int]
    deliveries: set[str] = field(default_factory=set)
    sealed: bool = False

    @property
    def complete(self) -> bool:
        return self.sealed or self.part[0] >= self.part[1]

    def has(self, delivery_id: str) -> bool:
        return self.sealed or delivery_id in self.deliveries


class SignalRules:
    """Folds one partition of `user.signals` in log order.

    `sequences` is the last sequence per user, `slots` the newest slot per series, `holdings` what accounts
    were asked to hold, `cursor` the next offset to take per `hub.predictions` partition, `position` the next
    offset to read here. `strict` also re-derives every id, at four times the cost.
    """

    def __init__(
        self, epochs: EpochRule, sequences: Mapping[str, int] | None = None, *, strict: bool = False
    ) -> None:
        self.sequences: dict[str, int] = dict(sequences or {})
        self.slots: dict[Series, LastSlot] = {}
        self.holdings = Holdings()
        self.cursor: dict[int, int] = {}
        self.position = 0
        self._epochs = epochs
        self._strict = strict

    def take(self, offset: int, key: bytes, value: bytes | None, now_ns: int | None) -> SignalReading:
        """Judge the next record; `now_ns` None folds without looking at expiry."""
        self.position = offset + 1
        if key.startswith(CONTROL_PREFIX):
            return self._control(offset, key, value)
        try:
            head = self._head(value or b"")
        except ValidationError as error:
            return SignalReading(Verdict.UNDECODABLE, detail=first_wrong(error))
        except ValueError as error:
            return SignalReading(Verdict.FORGED, detail=str(error))
        if without := standing(self._epochs, head.epoch, offset):
            return SignalReading(without[0], head, detail=without[1])
        if head.user_id.encode() != key:
            return SignalReading(
                Verdict.MISADDRESSED, head, detail=f"key was {key!r}, the body is for {head.user_id}"
            )
        return self._fold(head, now_ns)

    @property
    def series(self) -> dict[Series, int]:
        """The last bar close per series."""
        return {series: slot.bar_close_ms for series, slot in self.slots.items()}

    @property
    def open_slot(self) -> tuple[Series, LastSlot] | None:
        """The slot of which some batches are valid and others still to come, if there is one."""
        return next((item for item in self.slots.items() if not item[1].complete), None)

    @classmethod
    def resumed(cls, epochs: EpochRule, checkpoint: Checkpoint) -> SignalRules:
        """The fold as it was at `checkpoint.position`; `epochs` must know the checkpoint's claims."""
        rules = cls(epochs, checkpoint.sequences)
        rules.cursor = {int(partition): offset for partition, offset in checkpoint.cursor.items()}
        rules.position = checkpoint.position
        rules.holdings = Holdings.restored(checkpoint.held, checkpoint.acted)
        for mark in checkpoint.series:
            slot = LastSlot(mark.bar_close_ms, (-1, -1), -1, (1, 1), sealed=True)
            rules.slots[mark.strategy, mark.symbol, mark.horizon_ms] = slot
        return rules

    def checkpoint(self, *, epoch: int, claims: tuple[int, ...], now_ns: int) -> Checkpoint:
        """The fold as a record. ValueError while a slot is open: its deliveries would be forgotten."""
        if self.open_slot:
            raise ValueError(f"slot {self.open_slot[0]} is open; checkpoint between slots")
        marks = (
            SeriesMark(strategy=strategy, symbol=symbol, horizon_ms=horizon_ms, bar_close_ms=close_ms)
            for (strategy, symbol, horizon_ms), close_ms in self.series.items()
        )
        return Checkpoint.model_construct(  # of our own making: validating every user's entry takes long
            epoch=epoch,
            position=self.position,
            claims=claims,
            cursor={str(partition): offset for partition, offset in self.cursor.items()},
            sequences=dict(self.sequences),
            series=tuple(marks),
            held=self.holdings.held,
            acted=self.holdings.acted,
            written_ns=now_ns,
        )

    def _head(self, value: bytes) -> SignalHead:
        if self._strict and (wrong := check_signal(Signal.from_record(value))):
            raise ValueError("; ".join(wrong))
        return SignalHead.from_record(value)

    def _fold(self, head: SignalHead, now_ns: int | None) -> SignalReading:
        """The order rules, for a valid signal to the right user."""
        last = self.sequences.get(head.user_id)
        self.sequences[head.user_id] = max(head.sequence, last or 0)
        if out_of_turn := self._out_of_turn(head, last):
            return SignalReading(out_of_turn, head)
        self._note_delivery(head)
        if asked := head.asked:
            self.holdings.ask(asked, head.generated_ns)
        missed = 0 if last is None else head.sequence - last - 1
        if now_ns is not None and now_ns + head.clock_error_ns >= head.expires_ns:
            return SignalReading(Verdict.EXPIRED, head, missed=missed)
        return SignalReading(Verdict.ACCEPTED, head, missed=missed)

    def _out_of_turn(self, head: SignalHead, last: int | None) -> Verdict | None:
        slot = self.slots.get(head.series)
        if slot and head.bar_close_ms < slot.bar_close_ms:
            return Verdict.OUT_OF_ORDER
        if slot and head.bar_close_ms == slot.bar_close_ms and slot.has(head.delivery_id):
            return Verdict.REPEATED
        if last is not None and head.sequence <= last:
            return Verdict.REPEATED if head.sequence == last else Verdict.OUT_OF_ORDER
        return None

    def _note_delivery(self, head: SignalHead) -> None:
        source = (head.source.partition, head.source.offset)
        slot = self.slots.get(head.series)
        if slot is None or slot.bar_close_ms < head.bar_close_ms:
            slot = LastSlot(head.bar_close_ms, source, head.subscription_offset, head.part)
            self.slots[head.series] = slot
        slot.part = head.part
        slot.deliveries.add(head.delivery_id)
        self._advance(source[0], source[1] + 1 if slot.complete else source[1])

    def _control(self, offset: int, key: bytes, value: bytes | None) -> SignalReading:
        if key == CLAIM_KEY:
            self._epochs.saw_claim(offset)
            return SignalReading(Verdict.CONTROL)
        try:
            event = _control_event(key, value or b"")
        except ValueError as error:
            return SignalReading(Verdict.UNDECODABLE, detail=str(error))
        if event is None:
            return SignalReading(Verdict.CONTROL)
        if without := standing(self._epochs, event.epoch, offset):
            return SignalReading(without[0], control=event, detail=without[1])
        return self._fold_control(event)

    def _fold_control(self, event: Undelivered | Beat) -> SignalReading:
        if isinstance(event, Beat):
            for partition, next_offset in event.cursor.items():
                self._advance(int(partition), next_offset)
            return SignalReading(Verdict.CONTROL, control=event)
        slot = self.slots.get((event.strategy, event.symbol, event.horizon_ms))
        if slot and event.bar_close_ms < slot.bar_close_ms:
            return SignalReading(Verdict.OUT_OF_ORDER, control=event)
        if slot and event.bar_close_ms == slot.bar_close_ms and slot.sealed:
            return SignalReading(Verdict.REPEATED, control=event)
        self._seal(event)
        return SignalReading(Verdict.CONTROL, control=event)

    def _seal(self, event: Undelivered) -> None:
        """Nothing (more) of the slot is to come: the rest of it, or all, is recorded as undelivered."""
        source = (event.source_partition, event.source_offset)
        slot = LastSlot(event.bar_close_ms, source, event.subscription_offset, (1, 1), sealed=True)
        self.slots[event.strategy, event.symbol, event.horizon_ms] = slot
        self._advance(event.source_partition, event.source_offset + 1)

    def _advance(self, partition: int, next_offset: int) -> None:
        self.cursor[partition] = max(self.cursor.get(partition, 0), next_offset)


def _control_event(key: bytes, value: bytes) -> Undelivered | Beat | None:
    if key == UNDELIVERED_KEY:
        return Undelivered.from_record(value)
    if key != BEAT_KEY:
        return None
    beat = Beat.from_record(value)
    if not all(partition.isdecimal() for partition in beat.cursor):
        raise ValueError(f"cursor names partitions {list(beat.cursor)}; expected numbers")
    return beat
