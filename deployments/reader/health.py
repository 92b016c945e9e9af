"""What an operator may ask a reader: counts since the start, and how much time signals had left."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from deployments.reader.ports import GapKind, Outcome
from signals.reader import Verdict


@dataclass(slots=True)
class ReaderHealth:
    """`time_left_s` is the least time to expiry of the signals in the last chunk that held any: the lag that
    matters, negative once signals come too late. `waiting` counts records that are read and not yet judged.
    """

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    gaps: Counter[GapKind] = field(default_factory=Counter)
    partitions: frozenset[int] = frozenset()
    waiting: int = 0
    time_left_s: float | None = None
    taken_over: int = 0
    dead_letters: int = 0
    dead_letters_failed: int = 0
