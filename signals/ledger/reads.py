"""What a reader says it did, held against the log: the account of a service is evidence against itself."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from signals.ledger.findings import Findings
from signals.ledger.records import SlotKey
from signals.ledger.signal_log import Place, SignalLog


class Read(NamedTuple):
    """One effect of one reader: `acted` on the record at this place, or else reported it as expired."""

    reader: str
    partition: int
    offset: int
    delivery_id: str
    user_id: str
    acted: bool
    at_ns: int


class ReadLog:
    """Judges effects in the order in which each reader had them, after all of the log was taken.

    `judged` counts them; `beyond` those of records that came after the end of the log as it was read.
    """

    def __init__(self, signals: SignalLog, findings: Findings) -> None:
        self.judged = 0
        self.beyond = 0
        self._signals = signals
        self._findings = findings
        self._done: set[tuple[str, str]] = set()
        self._close: dict[tuple[str, ...], int] = defaultdict(int)

    def take(self, read: Read) -> None:
        """Judge the next effect of its reader."""
        place = self._signals.places.get((read.partition, read.offset))
        if place is None and read.offset >= self._signals.ends.get(read.partition, 0):
            self.beyond += 1
            return
        self.judged += 1
        where = f"{read.reader} at {read.partition}/{read.offset}"
        if place is None:
            self._findings.phantom += 1
            self._findings.note(f"{where}: acted on a record that the log does not have")
        elif place.delivery_id != read.delivery_id:
            self._findings.diverged += 1
            self._findings.note(f"{where}: had {read.delivery_id}, the log has {place.delivery_id}")
        elif place.user_id != read.user_id:
            self._findings.misdelivered += 1
            self._findings.note(f"{where}: acted for {read.user_id} on a signal of {place.user_id}")
        else:
            self._judge(read, place, where)

    def _judge(self, read: Read, place: Place, where: str) -> None:
        if (read.reader, read.delivery_id) in self._done:
            self._findings.duplicated += 1
            self._findings.note(f"{where}: delivery {read.delivery_id} had an effect before")
            return
        self._done.add((read.reader, read.delivery_id))
        if not place.valid:
            self._findings.stale_epoch += 1
            self._findings.note(f"{where}: the record is of a fenced owner")
        if read.acted and read.at_ns >= place.expires_ns:
            self._findings.expired += 1
            self._findings.note(f"{where}: acted {(read.at_ns - place.expires_ns) / 1e6:.0f} ms after expiry")
        self._judge_order(read, place, place.slot, where)

    def _judge_order(self, read: Read, place: Place, slot: SlotKey, where: str) -> None:
        series = (
            read.reader,
            place.user_id,
            place.account_id,
            slot.strategy,
            slot.symbol,
            str(slot.horizon_ms),
        )
        if slot.bar_close_ms < self._close[series]:
            self._findings.reordered += 1
            self._findings.note(f"{where}: {slot} after a later one")
        self._close[series] = max(slot.bar_close_ms, self._close[series])
