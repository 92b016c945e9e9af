"""The rules every reader applies, and the fold that owners restore from: one code for both.

A verdict depends on the log alone, except that a reader who acts also drops what has expired; so all readers
agree on which record of a slot counts. What is dropped still moves what it must: an expired signal consumed
its sequence.
"""

from signals.reader.heads import SignalHead
from signals.reader.predictions import PredictionReading, PredictionRules
from signals.reader.signals import LastSlot, SignalReading, SignalRules
from signals.reader.standing import EpochRule, Series, Verdict

__all__ = [
    "EpochRule",
    "LastSlot",
    "PredictionReading",
    "PredictionRules",
    "Series",
    "SignalHead",
    "SignalReading",
    "SignalRules",
    "Verdict",
]
