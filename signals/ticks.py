"""Per-symbol tick sequence: which ticks were lost, came late or came twice.

The feeder numbers the ticks of a symbol from 1 without gaps within one session, and its market clock names
the last number sent. So a loss is seen at the next tick, or at the next clock if it was the last tick.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

_REMEMBERED_GAPS: Final = 64


class TickOrder(StrEnum):
    """Where a tick stands in its sequence. A `duplicate` must not be used again; the others may."""

    IN_ORDER = "in_order"
    AFTER_GAP = "after_gap"
    LATE = "late"
    DUPLICATE = "duplicate"


class TickSequence:
    """Sequence of one symbol. `missing` counts ticks never seen, `late` those that came after a newer one.

    The first tick ever seen sets the beginning, for a consumer may join in the middle; every later session
    begins at 1. Only the last gaps are remembered: a tick from an older one counts as a duplicate.
    """

    def __init__(self) -> None:
        self.session: str | None = None
        self.missing = 0
        self.late = 0
        self.duplicates = 0
        self.sessions = 0
        self._newest = 0
        self._gaps: list[range] = []

    def observe(self, session: str, seq: int) -> TickOrder:
        """Take note of a tick and say where it stands."""
        self._enter(session, joined_at=seq)
        if seq > self._newest:
            lost = self._advance_to(seq - 1)
            self._newest = seq
            return TickOrder.AFTER_GAP if lost else TickOrder.IN_ORDER
        if self._fill(seq):
            self.missing -= 1
            self.late += 1
            return TickOrder.LATE
        self.duplicates += 1
        return TickOrder.DUPLICATE

    def observe_clock(self, session: str, last_seq: int) -> int:
        """Take note of the last number the feeder has sent; how many ticks that shows to be missing."""
        self._enter(session, joined_at=last_seq + 1)
        return self._advance_to(last_seq)

    def _enter(self, session: str, *, joined_at: int) -> None:
        if session == self.session:
            return
        self._newest = joined_at - 1 if self.session is None else 0
        self.session = session
        self.sessions += 1
        self._gaps = []

    def _advance_to(self, seq: int) -> int:
        gap = range(self._newest + 1, seq + 1)
        if not gap:
            return 0
        self._gaps = [*self._gaps, gap][-_REMEMBERED_GAPS:]
        self._newest = seq
        self.missing += len(gap)
        return len(gap)

    def _fill(self, seq: int) -> bool:
        for index, gap in enumerate(self._gaps):
            if seq in gap:
                self._gaps[index : index + 1] = [
                    part for part in (range(gap.start, seq), range(seq + 1, gap.stop)) if part
                ]
                return True
        return False
