"""Puts every subscriber of one slot into its case: what they hold, what their limits and the halts leave."""

from __future__ import annotations

from typing import Final

from models.halt import Halt
from models.prediction import Prediction, Skipped
from signals.book import Subscriber
from signals.halts import Halts
from signals.holdings import Holdings
from signals.limits import Limits
from signals.projection import Case, Veto

UNKNOWN_HALTS: Final = Veto("halt:unknown", "halted: which halts are in force cannot be read at the moment")


class Terms:
    """For one slot, at one moment; `halts` None says that they cannot be read, so nothing may be asked.

    Moments are the prediction's own `generated_ns`, so that another owner comes to the same cases.
    """

    def __init__(self, owed: Prediction | Skipped, *, holdings: Holdings, halts: Halts | None) -> None:
        self._at_ns = owed.generated_ns
        self._holdings = holdings
        self._held = holdings.holder(owed.slot.symbol)
        self._personal = halts if halts and halts.personal else None
        self._veto = _of_slot(owed, halts)
        self._simple = self._veto is None and self._personal is None

    def case(self, one: Subscriber) -> Case:
        """The subscriber's case; one of three shared ones for all without limits and halts."""
        held = self._held(one.account)
        if self._simple and one.limits is None:
            return one.cases.flat if not held else one.cases.long if held > 0 else one.cases.short
        return self._special(one, 0 if not held else 1 if held > 0 else -1)

    def _special(self, one: Subscriber, side: int) -> Case:
        bounds = one.cases.flat.bounds
        veto = self._veto or self._halted(one) or self._limited(one.limits)
        room = one.limits.room(self._holdings, one.account) if one.limits else one.cases.flat.room
        return Case(bounds, side, room, veto)

    def _halted(self, one: Subscriber) -> Veto | None:
        halt = self._personal.of_user(one.tenant_id, one.user_id) if self._personal else None
        return _veto(halt) if halt else None

    def _limited(self, limits: Limits | None) -> Veto | None:
        return limits.veto(self._holdings, at_ns=self._at_ns) if limits else None


def _of_slot(owed: Prediction | Skipped, halts: Halts | None) -> Veto | None:
    if halts is None:
        return UNKNOWN_HALTS
    model = f"{owed.lineage.model}@{owed.lineage.version}" if isinstance(owed, Prediction) else None
    halt = halts.of_slot(owed.slot.strategy, model)
    return _veto(halt) if halt else None


def _veto(halt: Halt) -> Veto:
    return Veto(f"halt:{halt.scope}", f"halted ({halt.scope}): {halt.reason}")
