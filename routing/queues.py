"""How busy each replica is: our own calls, counted exactly, and other callers' calls, heard of in replies.

A load report says how many calls a replica held; what is not ours of them is *foreign*, and fades with age,
because nobody tells us when a foreign call ends. Written under the load table's lock only.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

from models.forecast import LoadReport
from routing.latency import Floats
from routing.placement import Placement

_BOOTS_REMEMBERED: Final = 4
_OWN, _FOREIGN, _HEARD_MS, _SLOTS = range(4)

_Where = int | slice


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
    """Beliefs per replica of a placement. After `settle`: `calls` queued or running, and the `delay` that
    they cause as a multiple of the service time, max(1, (calls + 1) / slots).
    """

    def __init__(self, placement: Placement, *, tau_ms: float, now_ms: int) -> None:
        self._placement = placement
        self._tau_ms = tau_ms
        self._now_ms = now_ms
        self._raw: Floats = np.zeros((4, len(placement.replicas)))
        self._raw[_SLOTS] = [max(1, meta.slots) for meta in placement.metas]
        self._orders = [ReportOrder() for _ in placement.replicas]
        self.calls: Floats = np.zeros(len(placement.replicas))
        self.delay: Floats = np.ones(len(placement.replicas))
        self._settle(slice(None))

    def moved_to(self, placement: Placement) -> Queues:
        """The same beliefs numbered by another placement; replicas that are gone are forgotten."""
        moved = Queues(placement, tau_ms=self._tau_ms, now_ms=self._now_ms)
        for new, name in enumerate(placement.replicas):
            old = self._placement.index.get(name)
            if old is not None:
                moved._raw[:_SLOTS, new] = self._raw[:_SLOTS, old]  # another of our own kind
                moved._orders[new] = self._orders[old]
        moved._settle(slice(None))
        return moved

    def own(self, replica: int) -> int:
        """Our own calls there without an outcome."""
        return int(self._raw[_OWN, replica])

    def add_own(self, replica: int, change: int) -> None:
        """A call of ours was sent (+1) or has ended (-1)."""
        self._raw[_OWN, replica] = max(0.0, self._raw[_OWN, replica] + change)
        self._settle(replica)

    def hear(self, replica: int, report: LoadReport) -> bool:
        """Take a replica's report, which no longer counts the call it came with; False if it is no news."""
        if not _plausible(report) or not self._orders[replica].accepts(report.boot, report.seq):
            return False
        self._raw[_SLOTS, replica] = report.slots
        self._set_foreign(replica, report.queued + report.in_service - self.own(replica))
        return True

    def assume_full(self, replica: int) -> None:
        """The replica refused a call without saying how full it is: believe every slot taken by others."""
        self._set_foreign(replica, max(self._raw[_SLOTS, replica], self._raw[_FOREIGN, replica]))

    def settle(self, now_ms: int) -> None:
        """Let what was heard of others fade to `now_ms`."""
        self._now_ms = now_ms
        self._settle(slice(None))

    def _set_foreign(self, replica: int, calls: float) -> None:
        self._raw[_FOREIGN, replica] = max(0.0, calls)
        self._raw[_HEARD_MS, replica] = self._now_ms
        self._settle(replica)

    def _settle(self, at: _Where) -> None:
        own, foreign, heard_ms, slots = self._raw[:, at]
        age_ms = np.maximum(self._now_ms - heard_ms, 0.0)
        calls = own + foreign * np.exp(age_ms / -self._tau_ms)
        self.calls[at] = calls
        self.delay[at] = np.maximum(1.0, (calls + 1.0) / slots)


def _plausible(report: LoadReport) -> bool:
    return report.queued >= 0 and report.in_service >= 0 and report.slots > 0 and report.seq >= 0
