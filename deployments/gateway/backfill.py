"""The caller's own signals in pages, and where one of them came from."""

from __future__ import annotations

from typing import Final

from deployments.front.user_signals import Found, Place, UserSignals
from messaging.ports import EventBus
from messaging.topics import PREDICTIONS
from models.base import Frozen
from models.errors import NotFound
from models.prediction import Prediction, Skipped
from models.principal import Principal
from models.signal import Signal, Source
from signals.encoding import decode_owed

_NONE: Final = "you have no such signal; for one that is not recent, name its sequence too"


class SignalPage(Frozen):
    """The caller's signals, oldest first. Ask again with `next_since_seq`, and with `next_cursor` if there is
    one: then the log was not read to its end, so more may follow even behind an empty page.

    `complete` is false if signals before the first of these may be missing: the log, or what is known of its
    order, does not reach back to `since_seq`.
    """

    signals: tuple[Signal, ...]
    next_since_seq: int
    complete: bool
    next_cursor: str | None = None


class SignalExplanation(Frozen):
    """A signal, and the prediction it was projected from with the decision that chose its model."""

    signal: Signal
    prediction: Prediction | Skipped | None


class SignalBackfill:
    """Pages of a user's valid signals; each reads a bounded piece of the log."""

    def __init__(self, bus: EventBus, signals: UserSignals) -> None:
        self._bus = bus
        self._signals = signals

    async def since(
        self, principal: Principal, since_seq: int, *, limit: int, cursor: str | None = None
    ) -> SignalPage:
        """The caller's signals with a sequence above `since_seq`, at most `limit` of them."""
        at = Place.parse(cursor) if cursor else None
        stretch = await self._signals.read(principal, since_seq, limit=limit, at=at)
        found = [_signal(item) for item in stretch.found]
        return SignalPage(
            signals=tuple(found),
            next_since_seq=found[-1].sequence if found else since_seq,
            complete=stretch.complete,
            next_cursor=None if stretch.reached_end else str(stretch.next),
        )

    async def explain(
        self, principal: Principal, delivery_id: str, *, sequence: int | None = None
    ) -> SignalExplanation:
        """One of the caller's signals with its origin. NotFound for a foreign or absent one, and for one that
        is older than a read reaches unless its `sequence` is given.
        """
        if sequence is None:
            found = (await self._signals.latest(principal)).found
        else:
            one = await self._signals.find(principal, sequence)
            found = [one] if one else []
        signal = next((_signal(item) for item in found if item.head.delivery_id == delivery_id), None)
        if signal is None:
            raise NotFound(_NONE)
        return SignalExplanation(signal=signal, prediction=await self._origin(signal.source))

    async def _origin(self, source: Source) -> Prediction | Skipped | None:
        """The record of `hub.predictions` a signal names; None once retention has removed it."""
        topic, offset, origin = PREDICTIONS.name, source.offset, None
        first, end = await self._bus.bounds(topic, source.partition)
        if not first <= offset < end:
            return None
        async for records in self._bus.read(topic, source.partition, offset, offset + 1):
            for record in records:
                origin = decode_owed(record.value or b"")
        return origin


def _signal(found: Found) -> Signal:
    return Signal.from_record(found.record.value or b"")
