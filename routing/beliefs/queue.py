"""How busy one replica is: our own calls, counted exactly, and other callers' calls, heard of in replies.

A load report says how many calls a replica held; what is not ours of them is *foreign*. Nobody tells us when
a foreign call ends, so that belief relaxes with age to what the pool's forecast expects of any replica.
Written under the load table's lock only.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from models.forecast import LoadReport
from routing.latency import faded

_BOOTS_REMEMBERED: Final = 4
MOST_CALLS: Final = 1_000_000
"""A report of more calls than this is absurd."""


class ReportOrder:
    """Accepts a replica's load reports only forwards: by sequence within a boot, never from a former boot."""

    def __init__(self) -> None:
        self._boot: str | None = None
        self._seq = -1
        self._former: deque[str] = deque(maxlen=_BOOTS_REMEMBERED)

    def accepts(self, boot: str, seq: int) -> bool:
        """Whether the report is news; if so, only what comes after it is from now on."""
        if boot != self._boot:
            if boot in self._former:
                return False
            if self._boot is not None:
                self._former.append(self._boot)
            self._boot, self._seq = boot, -1
        if seq <= self._seq:
            return False
        self._seq = seq
        return True

    def export(self) -> dict[str, Any]:
        """The state as JSON can hold it."""
        return {"boot": self._boot, "seq": self._seq, "former": list(self._former)}

    def restore(self, state: dict[str, Any]) -> None:
        self._boot, self._seq = state["boot"], state["seq"]
        self._former.extend(state["former"])


class Queue:
    """Calls queued or running on one replica, as this process believes. Times are wall milliseconds."""

    def __init__(self, slots: int, *, tau_ms: float) -> None:
        self.slots = float(max(1, slots))
        self.own = 0
        self._foreign = 0.0
        self._heard_ms = 0.0
        self._tau_ms = tau_ms
        self._order = ReportOrder()

    def foreign(self, now_ms: float, usual: float) -> float:
        """Other callers' calls by now; what was heard relaxes to what is `usual`."""
        return usual + (self._foreign - usual) * faded(now_ms - self._heard_ms, self._tau_ms)

    def add_own(self, change: int) -> None:
        """A call of ours was sent (+1) or has ended (-1)."""
        self.own = max(0, self.own + change)

    def hear(self, report: LoadReport, now_ms: float) -> bool:
        """Take the replica's report, which no longer counts the call it came with; False if it is no news."""
        if not _plausible(report) or not self._order.accepts(report.boot, report.seq):
            return False
        self.slots = float(report.slots)
        self._foreign, self._heard_ms = max(0.0, report.queued + report.in_service - self.own), now_ms
        return True

    def assume_full(self, now_ms: float, usual: float) -> None:
        """The replica refused a call without saying how full it is: believe every slot taken by others."""
        self._foreign, self._heard_ms = max(self.slots, self.foreign(now_ms, usual)), now_ms

    def export(self) -> dict[str, Any]:
        """The state as JSON can hold it."""
        return {
            "slots": self.slots,
            "own": self.own,
            "foreign": self._foreign,
            "heard_ms": self._heard_ms,
            "order": self._order.export(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.slots, self.own = state["slots"], state["own"]
        self._foreign, self._heard_ms = state["foreign"], state["heard_ms"]
        self._order.restore(state["order"])


def _plausible(report: LoadReport) -> bool:
    return (
        0 <= report.queued + report.in_service <= MOST_CALLS
        and report.queued >= 0
        and report.in_service >= 0
        and 0 < report.slots <= MOST_CALLS
        and report.seq >= 0
    )
