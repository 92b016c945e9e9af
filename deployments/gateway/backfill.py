"""A user's own signals out of `user.signals`, by the rules every reader applies.

A log has no index, so this is a bounded scan: the last `MAX_SCAN` records of the user's partition, in order.
The answer says whether that reached as far back as was asked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from deployments.gateway.subscriptions import partition_of_user
from messaging.claims import EpochFilter
from messaging.ports import EventBus
from messaging.topics import PREDICTIONS, SIGNAL_STATE, SIGNALS
from models.base import Frozen
from models.errors import NotFound
from models.events import CHECKPOINT_KEY, Checkpoint
from models.prediction import Prediction, Skipped
from models.principal import Principal
from models.signal import Signal, Source
from signals.encoding import decode_owed
from signals.reader import SignalRules, Verdict

MAX_SCAN: Final = 5_000
"""About 80 ms of this process's time on a busy core."""
CHECKPOINT_SCAN: Final = 32


class SignalPage(Frozen):
    """The caller's signals, oldest first; ask again with `next_since_seq` for those that follow.

    `complete` is false if the scan did not reach back to `since_seq`, so that older signals may be missing.
    """

    signals: tuple[Signal, ...]
    next_since_seq: int
    complete: bool


class SignalExplanation(Frozen):
    """A signal, and the prediction it was projected from with the decision that chose its model."""

    signal: Signal
    prediction: Prediction | Skipped | None


@dataclass(frozen=True, slots=True)
class _Scan:
    """Offsets [start, end) of a partition, and the claims before them; `whole` if nothing lies before."""

    partition: int
    start: int
    end: int
    epochs: EpochFilter
    whole: bool


class SignalBackfill:
    """Reads the valid signals of one user; void, repeated and foreign records are passed over."""

    def __init__(self, bus: EventBus, *, max_scan: int = MAX_SCAN) -> None:
        self._bus = bus
        self._max_scan = max_scan

    async def since(self, principal: Principal, since_seq: int, *, limit: int) -> SignalPage:
        """The caller's signals with a sequence above `since_seq`, at most `limit` of them."""
        scan = await self._scan_of(principal)
        found: list[Signal] = []
        complete = scan.whole
        async for signal in self._own(principal, scan):
            complete = complete or signal.sequence <= since_seq + 1
            if signal.sequence > since_seq and len(found) < limit:
                found.append(signal)
        last_seq = found[-1].sequence if found else since_seq
        return SignalPage(signals=tuple(found), next_since_seq=last_seq, complete=complete)

    async def explain(self, principal: Principal, delivery_id: str) -> SignalExplanation:
        """One of the caller's signals with its origin; NotFound for a foreign, absent or older one."""
        scan = await self._scan_of(principal)
        found = [item async for item in self._own(principal, scan) if item.delivery_id == delivery_id]
        if not found:
            raise NotFound("you have no such signal, or it is older than a scan reaches")
        return SignalExplanation(signal=found[0], prediction=await self._origin(found[0].source))

    async def _own(self, principal: Principal, scan: _Scan) -> AsyncIterator[Signal]:
        """Valid signals of the caller; all records pass the rules, because series are shared by users."""
        rules, own_key = SignalRules(scan.epochs), principal.user_id.encode()
        async for records in self._bus.read(SIGNALS.name, scan.partition, scan.start, scan.end):
            for record in records:
                reading = rules.take(record.offset, record.key, record.value, now_ns=None)
                if record.key == own_key and reading.verdict is Verdict.ACCEPTED:
                    signal = Signal.from_record(record.value or b"")
                    if signal.tenant_id == principal.tenant_id:
                        yield signal

    async def _scan_of(self, principal: Principal) -> _Scan:
        """The last records of the caller's partition, from where verdicts can be trusted."""
        partition = partition_of_user(principal.user_id)
        first, end = await self._bus.bounds(SIGNALS.name, partition)
        claims = await self._claims(partition)
        start = max(first, end - self._max_scan) if claims else first
        return _Scan(partition, start, end, EpochFilter(claims), whole=start == first)

    async def _claims(self, partition: int) -> tuple[int, ...]:
        """Recent claim offsets, from the partition's newest checkpoint."""
        first, end = await self._bus.bounds(SIGNAL_STATE.name, partition)
        claims: tuple[int, ...] = ()
        start = max(first, end - CHECKPOINT_SCAN)
        async for records in self._bus.read(SIGNAL_STATE.name, partition, start, end):
            for record in records:
                if record.key == CHECKPOINT_KEY and record.value:
                    claims = Checkpoint.from_record(record.value).claims
        return claims

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
