"""The rules for `hub.predictions`."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from models.events import CLAIM_KEY, CONTROL_PREFIX
from models.prediction import Prediction, Skipped
from signals.encoding import decode_owed, slot_id
from signals.reader.standing import EpochRule, Series, Verdict, first_wrong, standing


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
            return PredictionReading(Verdict.UNDECODABLE, detail=first_wrong(error))
        verdict, detail = self._judge(offset, key, owed)
        if verdict is Verdict.ACCEPTED:
            self.series[owed.slot.series] = owed.slot.bar_close_ms
        return PredictionReading(verdict, owed, detail)

    def _judge(self, offset: int, key: bytes, owed: Prediction | Skipped) -> tuple[Verdict, str]:
        slot = owed.slot
        if without := standing(self._epochs, owed.epoch, offset):
            return without
        if key != slot.symbol.encode():
            return Verdict.MISADDRESSED, f"key was {key!r}, the slot is of {slot.symbol}"
        if slot.signal_id != slot_id(slot):
            return Verdict.FORGED, f"signal_id should be {slot_id(slot)}"
        last_ms = self.series.get(slot.series, -1)
        if slot.bar_close_ms > last_ms:
            return Verdict.ACCEPTED, ""
        repeated = slot.bar_close_ms == last_ms
        return (Verdict.REPEATED if repeated else Verdict.OUT_OF_ORDER), f"the series is at {last_ms}"
