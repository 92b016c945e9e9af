"""How busy each replica is: our own calls, counted exactly, and other callers' calls, heard of in replies.

A load report says how many calls a replica held; what is not ours of them is *foreign*, and fades with age,
because nobody tells us when a foreign call ends. Written under the load table's lock only.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

from models.forecast import LoadReport
from routing.latency import Floats, faded
from routing.placement import Placement

_BOOTS_REMEMBERED: Final = 4


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


class Queues:
    """Beliefs per replica of a placement, as of the last `settle`.

    `calls` are queued or running, `delay` is what they cause as a multiple of the service time,
    max(1, (calls + 1) / slots). Both are replaced, never changed: snapshots hold the old ones.
    """

    def __init__(self, placement: Placement, *, tau_ms: float, now_ms: int) -> None:
        size = len(placement.replicas)
        self._placement = placement
        self._tau_ms = tau_ms
        self._now_ms = now_ms
        self._orders = [ReportOrder() for _ in placement.replicas]
        self._own = np.zeros(size)
        self._foreign = np.zeros(size)
        self._slots = np.array([max(1, meta.slots) for meta in placement.metas], dtype=float)
        self.calls: Floats
        self.delay: Floats
        self._follow_all()

    def moved_to(self, placement: Placement) -> Queues:
        """The same beliefs numbered by another placement; replicas that are gone are forgotten."""
        moved = Queues(placement, tau_ms=self._tau_ms, now_ms=self._now_ms)
        for new, name in enumerate(placement.replicas):
            old = self._placement.index.get(name)
            if old is not None:
                moved._own[new], moved._foreign[new] = self._own[old], self._foreign[old]
                moved._orders[new] = self._orders[old]
        moved._follow_all()
        return moved

    def add_own(self, replica: int, change: int) -> None:
        """A call of ours was sent (+1) or has ended (-1)."""
        self._own[replica] = max(0.0, self._own.item(replica) + change)
        self._follow(replica)

    def hear(self, replica: int, report: LoadReport) -> bool:
        """Take a replica's report, which no longer counts the call it came with; False if it is no news."""
        if not _plausible(report) or not self._orders[replica].accepts(report.boot, report.seq):
            return False
        self._slots[replica] = report.slots
        self._foreign[replica] = max(0.0, report.queued + report.in_service - self._own.item(replica))
        self._follow(replica)
        return True

    def assume_full(self, replica: int) -> None:
        """The replica refused a call without saying how full it is: believe every slot taken by others."""
        self._foreign[replica] = max(self._slots.item(replica), self._foreign.item(replica))
        self._follow(replica)

    def settle(self, now_ms: int) -> None:
        """Let what was heard of others fade to `now_ms`."""
        self._foreign *= faded(now_ms - self._now_ms, self._tau_ms)
        self._now_ms = now_ms
        self._follow_all()

    def _follow(self, replica: int) -> None:
        """Bring one replica's results up to its beliefs; by scalars, which for one are faster than arrays."""
        calls = self._own.item(replica) + self._foreign.item(replica)
        self.calls, self.delay = self.calls.copy(), self.delay.copy()
        self.calls[replica] = calls
        self.delay[replica] = max(1.0, (calls + 1.0) / self._slots.item(replica))

    def _follow_all(self) -> None:
        self.calls = self._own + self._foreign
        self.delay = np.maximum(1.0, (self.calls + 1.0) / self._slots)


def _plausible(report: LoadReport) -> bool:
    return report.queued >= 0 and report.in_service >= 0 and report.slots > 0 and report.seq >= 0
