"""The rules every reader applies, and the fold that owners restore from: one code for both.

A verdict depends on the log alone, except that a reader who acts also drops what has expired; so all readers
agree on which record of a slot counts. What is dropped still moves what it must: an expired signal consumed
its sequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol

from pydantic import ConfigDict, Field, ValidationError

from models.base import Frozen
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
from models.prediction import Prediction, Skipped
from models.signal import Signal, Source
from signals.encoding import check_signal, decode_owed, slot_id
from signals.holdings import Asked, Holdings, account_key, asks, subscription_key

Series = tuple[str, str, int]
"""Strategy, symbol, horizon: within a series bar closes only grow."""


class Verdict(StrEnum):
    """What a reader does with a record: acts on `accepted`, drops and counts all others but `control`."""

    ACCEPTED = "accepted"
    CONTROL = "control"
    VOID = "void"
    REPEATED = "repeated"
    OUT_OF_ORDER = "out_of_order"
    EXPIRED = "expired"
    MISADDRESSED = "misaddressed"
    FORGED = "forged"
    UNDECODABLE = "undecodable"


class EpochRule(Protocol):
    """What a reader needs of `messaging.claims.EpochFilter`."""

    def saw_claim(self, offset: int) -> None: ...

    def valid(self, *, epoch: int, offset: int) -> bool: ...


@dataclass(frozen=True, slots=True)
class PredictionReading:
    """The verdict on a record of `hub.predictions`, with what it owes if it could be read."""

    verdict: Verdict
    owed: Prediction | Skipped | None = None
    detail: str = ""


class PredictionRules:
    """Folds one partition of `hub.predictions` in log order; `series` holds the last valid bar closes."""

    def __init__(self, epochs: EpochRule) -> None:
        self.series: dict[Series, int] = {}
        self._epochs = epochs

    def take(self, offset: int, key: bytes, value: bytes | None) -> PredictionReading:
        """Judge the next record. The first valid one of a slot wins: by the writer's epoch, then by place."""
        if key == CLAIM_KEY:
            self._epochs.saw_claim(offset)
        if key.startswith(CONTROL_PREFIX):
            return PredictionReading(Verdict.CONTROL)
        try:
            owed = decode_owed(value or b"")
        except ValidationError as error:
            return PredictionReading(Verdict.UNDECODABLE, detail=_first(error))
        verdict, detail = self._judge(offset, key, owed)
        if verdict is Verdict.ACCEPTED:
            self.series[owed.slot.series] = owed.slot.bar_close_ms
        return PredictionReading(verdict, owed, detail)

    def _judge(self, offset: int, key: bytes, owed: Prediction | Skipped) -> tuple[Verdict, str]:
        slot = owed.slot
        if standing := _standing(self._epochs, owed.epoch, offset):
            return standing
        if key != slot.symbol.encode():
            return Verdict.MISADDRESSED, f"key was {key!r}, the slot is of {slot.symbol}"
        if slot.signal_id != slot_id(slot):
            return Verdict.FORGED, f"signal_id should be {slot_id(slot)}"
        last_ms = self.series.get(slot.series, -1)
        if slot.bar_close_ms > last_ms:
            return Verdict.ACCEPTED, ""
        repeated = slot.bar_close_ms == last_ms
        return (Verdict.REPEATED if repeated else Verdict.OUT_OF_ORDER), f"the series is at {last_ms}"


class RiskHead(Frozen):
    """Of a signal's `risk`, what the rules look at."""

    model_config = ConfigDict(strict=True)

    per_minute: int | None = None


class SignalHead(Frozen):
    """The fields of a signal that the rules look at; a third of the cost of reading all of it."""

    model_config = ConfigDict(strict=True)

    schema_: Literal["hub.signal/1"] = Field(alias="schema")
    signal_id: str
    strategy: str
    symbol: str
    horizon_ms: int
    bar_close_ms: int
    generated_ns: int
    expires_ns: int
    clock_error_ns: int
    source: Source
    epoch: int
    part: tuple[int, int]
    subscription_offset: int
    delivery_id: str
    tenant_id: str
    user_id: str
    account_id: str
    sequence: int
    kind: str
    target_fraction: float | None
    risk: RiskHead

    @property
    def series(self) -> Series:
        return self.strategy, self.symbol, self.horizon_ms

    @property
    def asked(self) -> Asked | None:
        """What the account is to hold from here on; None if nothing is asked."""
        if not asks(self.kind):
            return None
        account, limit = account_key(self.user_id, self.account_id), self.risk.per_minute
        limited = (subscription_key(account, self.strategy, self.symbol), limit) if limit else None
        return Asked(account, self.symbol, self.target_fraction or 0.0, limited)


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
            return SignalReading(Verdict.UNDECODABLE, detail=_first(error))
        except ValueError as error:
            return SignalReading(Verdict.FORGED, detail=str(error))
        if standing := _standing(self._epochs, head.epoch, offset):
            return SignalReading(standing[0], head, detail=standing[1])
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
            self.holdings.ask((asked,), head.generated_ns)
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
        if standing := _standing(self._epochs, event.epoch, offset):
            return SignalReading(standing[0], control=event, detail=standing[1])
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


def _standing(epochs: EpochRule, epoch: int, offset: int) -> tuple[Verdict, str] | None:
    """Why a record has no standing in its partition, None if it has."""
    if not 0 <= epoch < offset:
        return Verdict.FORGED, f"epoch {epoch} is no offset before {offset}"
    if not epochs.valid(epoch=epoch, offset=offset):
        return Verdict.VOID, f"a claim lies between epoch {epoch} and offset {offset}"
    return None


def _control_event(key: bytes, value: bytes) -> Undelivered | Beat | None:
    if key == UNDELIVERED_KEY:
        return Undelivered.from_record(value)
    if key != BEAT_KEY:
        return None
    beat = Beat.from_record(value)
    if not all(partition.isdecimal() for partition in beat.cursor):
        raise ValueError(f"cursor names partitions {list(beat.cursor)}; expected numbers")
    return beat


def _first(error: ValidationError) -> str:
    """Where and what of the first thing that is wrong."""
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'value'}: {first['msg']}"
