"""A due slot on its way: what it needs, when it is too late for it, and the record that settles it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from deployments.forecaster.lane import Lane
from deployments.forecaster.market import Closing
from models.answer import Answer
from models.evidence import Spread
from models.ids import signal_id
from models.market import MarketClock
from models.prediction import Prediction, Skipped, SkipReason, Slot
from models.strategy import Strategy
from routing.evidence.recalibration import spread_of


@dataclass(frozen=True, slots=True, kw_only=True)
class DueSlot:
    """A forecast that a strategy owes, with the window it is to be made from.

    `closed_ns` is the wall time of the clock message that closed the bar: deadline and expiry count from it.
    """

    lane: Lane
    strategy: Strategy
    slot: Slot
    closing: Closing
    closed_ns: int
    planned_ns: int

    @classmethod
    def of(
        cls, lane: Lane, strategy: Strategy, closing: Closing, *, clock: MarketClock, now_ns: int
    ) -> DueSlot:
        """The slot that the closing bar makes due."""
        symbol, close_ms = closing.bar.symbol, closing.bar.close_ms
        derived = signal_id(
            strategy=strategy.ref, symbol=symbol, bar_close_ms=close_ms, horizon_ms=strategy.horizon_ms
        )
        slot = Slot(
            signal_id=str(derived),
            strategy=strategy.ref,
            symbol=symbol,
            bar_ms=strategy.bar_ms,
            horizon_ms=strategy.horizon_ms,
            bar_close_ms=close_ms,
        )
        return cls(
            lane=lane,
            strategy=strategy,
            slot=slot,
            closing=closing,
            closed_ns=clock.sent_ns,
            planned_ns=now_ns,
        )

    @property
    def row(self) -> tuple[str, int]:
        """What its window depends on: strategies of one group share the row."""
        return self.slot.symbol, self.slot.bar_close_ms

    @property
    def expires_ns(self) -> int:
        return self.closed_ns + self.strategy.ttl_ms * 1_000_000

    @property
    def missed(self) -> bool:
        """Whether it became due while the partition had no live owner, or another one."""
        return self.closed_ns < self.lane.live_ns

    @property
    def stages(self) -> dict[str, int]:
        return {"tick": self.closed_ns, "window": self.planned_ns}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no forecast."""

    reason: SkipReason
    detail: str

    def record(self, due: DueSlot, *, now_ns: int, traceparent: str) -> Prediction | Skipped:
        """The record of a slot without a forecast."""
        return Skipped(
            epoch=due.lane.epoch,
            slot=due.slot,
            asof_ms=due.closing.asof_ms,
            generated_ns=now_ns,
            expires_ns=due.expires_ns,
            stages=due.stages,
            traceparent=traceparent,
            reason=self.reason,
            detail=self.detail,
            reference=due.closing.reference,
        )


@dataclass(frozen=True, slots=True)
class Answered:
    """A row of an answer."""

    answer: Answer
    row: int

    def record(self, due: DueSlot, *, now_ns: int, traceparent: str) -> Prediction | Skipped:
        """The record of an answered slot; a skipped one if the answer came too late to act on."""
        if now_ns >= due.expires_ns:
            late = Refusal(SkipReason.TIMEOUT, "the answer came after the slot had expired")
            return late.record(due, now_ns=now_ns, traceparent=traceparent)
        return Prediction(
            epoch=due.lane.epoch,
            slot=due.slot,
            asof_ms=due.closing.asof_ms,
            generated_ns=now_ns,
            expires_ns=due.expires_ns,
            stages={**due.stages, **self.answer.stages},
            traceparent=traceparent,
            forecast=self.answer.forecasts[self.row],
            reference=due.closing.reference,
            lineage=self.answer.lineage,
            decision=self.answer.decision,
            spread=self._spread(),
        )

    def _spread(self) -> Spread | None:
        in_force = self.answer.in_force
        return spread_of(self.answer.forecasts[self.row], in_force.rows[self.row]) if in_force else None


Outcome = Answered | Refusal


@dataclass(slots=True)
class Triage:
    """Due slots, sorted into those to ask for and those for which it is too late."""

    asked: list[DueSlot] = field(default_factory=list)
    refused: list[tuple[DueSlot, Refusal]] = field(default_factory=list)

    @classmethod
    def of(cls, due: Sequence[DueSlot], *, now_ns: int, stale_after_ms: int) -> Triage:
        """Sort what waited together. If inference fell behind, the latest slot per symbol wins; what a
        take-over missed is asked for as long as somebody may still act on it.
        """
        newest: dict[str, int] = {}
        for one in due:
            newest[one.slot.symbol] = max(one.slot.bar_close_ms, newest.get(one.slot.symbol, 0))
        triage = cls()
        for one in due:
            latest = one.slot.bar_close_ms == newest[one.slot.symbol]
            refusal = _too_late(one, latest=latest, now_ns=now_ns) or _unusable(one.closing, stale_after_ms)
            if refusal:
                triage.refused.append((one, refusal))
            else:
                triage.asked.append(one)
        return triage


def _too_late(due: DueSlot, *, latest: bool, now_ns: int) -> Refusal | None:
    if now_ns >= due.expires_ns:
        late_ms = (now_ns - due.expires_ns) // 1_000_000
        reason = SkipReason.TAKE_OVER if due.missed else SkipReason.BEHIND
        return Refusal(reason, f"first looked at {late_ms} ms after it expired")
    if not (latest or due.missed):
        return Refusal(SkipReason.BEHIND, "a later bar had closed before its turn came")
    return None


def _unusable(closing: Closing, stale_after_ms: int) -> Refusal | None:
    if closing.window is None:
        return Refusal(SkipReason.NO_WINDOW, "fewer than 256 returns without a hole are known")
    age_ms = closing.bar.close_ms - closing.asof_ms
    if age_ms > stale_after_ms:
        return Refusal(SkipReason.STALE_DATA, f"the newest tick is {age_ms} ms of market time old")
    return None
