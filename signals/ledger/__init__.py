"""The per-user ledger: what every user was owed, held against what is in the log and what a reader did.

Nobody marks their own homework. What was owed is computed from the tick files, the strategies and the
subscriptions, never from what the hub says it predicted; and the rules of validity are written here a second
time, in their shortest form (a record is valid iff it names the latest claim before it; an id is what the
contract derives), so that a mistake in `signals/reader/` or in the writing rooms cannot hide itself.

    due slots x subscriptions  =  delivered in time  +  recorded undelivered  +  lost
"""

from __future__ import annotations

from signals.ledger.findings import Findings
from signals.ledger.origins import PredictionLog
from signals.ledger.reads import Read, ReadLog
from signals.ledger.records import Delivery, LogEntry, SlotKey
from signals.ledger.settlement import Settlement
from signals.ledger.signal_log import ACTING_NS, SignalLog
from signals.ledger.subscriptions import GRACE_MS, SubscriptionLog

__all__ = [
    "ACTING_NS",
    "GRACE_MS",
    "Delivery",
    "Findings",
    "LogEntry",
    "PredictionLog",
    "Read",
    "ReadLog",
    "Settlement",
    "SignalLog",
    "SlotKey",
    "SubscriptionLog",
]
