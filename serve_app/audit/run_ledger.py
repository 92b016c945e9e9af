"""The ledger over a whole run that lies in the log or in a file."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from functools import partial
from typing import Final

from serve_app.audit.reading import PREDICTIONS, SIGNALS, user_partition
from signals.ledger import (
    Findings,
    LogEntry,
    PredictionLog,
    Read,
    ReadLog,
    Settlement,
    SignalLog,
    SlotKey,
    SubscriptionLog,
)

_MS: Final = 1_000_000


class RunLedger:
    """Takes every record of the three topics, in log order per partition, and settles.

    Nobody acts here, so a record counts by when the log had it: that is the time of its batch at the broker.
    """

    def __init__(self, due: Iterable[SlotKey], partitions: int, *, keep_places: bool = False) -> None:
        self.due = list(due)
        self.records = 0
        self.latest_ms = 0
        self.unjudged_reads = 0
        self._findings = Findings()
        self._place = partial(user_partition, partitions=partitions)
        self._predictions = PredictionLog(self._findings)
        self._subscriptions = SubscriptionLog(self._findings)
        self._signals = SignalLog(self._place, self._findings, keep_places=keep_places)

    def take(self, topic: str, entry: LogEntry) -> None:
        """Put one record where it belongs."""
        self.records += 1
        self.latest_ms = max(self.latest_ms, entry.timestamp_ms)
        if topic == SIGNALS:
            self._signals.take(entry, entry.timestamp_ms * _MS)
        elif topic == PREDICTIONS:
            self._predictions.take(entry)
        else:
            self._subscriptions.take(entry)

    @property
    def deliveries(self) -> int:
        """Signals to users so far, after the readers' rules."""
        return len(self._signals.deliveries)

    def settled(self, reads: Iterable[Read] = ()) -> Findings:
        """The ledger as of now, with what readers say they did; may be asked again after more was taken."""
        findings = deepcopy(self._findings)
        judge = ReadLog(self._signals, findings)
        for read in reads:
            judge.take(read)
        self.unjudged_reads = judge.beyond
        return Settlement(
            subscriptions=self._subscriptions,
            predictions=self._predictions,
            signals=self._signals,
            partition_of=self._place,
            findings=findings,
            end_ms=self.latest_ms,
        ).settle(self.due)
