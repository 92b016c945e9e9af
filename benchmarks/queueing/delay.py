"""The peer that learns: plain shortest expected delay, as in our first simulation."""

from __future__ import annotations

from math import exp
from random import Random
from statistics import median
from typing import Any, Final

from benchmarks.queueing.policies import Choice, Ended, least
from benchmarks.queueing.pool import Pool

GAIN: Final = 0.3
TAU_MS: Final = 1000.0


class ShortestExpectedDelay:
    """Least s * max(1, (q + 1) / c): q own calls in flight and others as last heard, s an average of the
    service times seen that relaxes to the median of all replicas. Unknown is the median.
    """

    def __init__(self, pool: Pool, rng: Random) -> None:
        size = len(pool.replicas)
        self._slots = [replica.slots for replica in pool.replicas]
        self._rng = rng
        self._own = [0] * size
        self._foreign = [0.0] * size
        self._heard_ms = [0.0] * size
        self._service_ms: dict[int, float] = {}
        self._middle_ms = pool.mean_ms

    def choose(self, *, budget_ms: float, now_ms: float) -> Choice:  # noqa: ARG002 - blind to deadlines
        delays = []
        for replica, slots in enumerate(self._slots):
            left = exp((self._heard_ms[replica] - now_ms) / TAU_MS)
            calls = self._own[replica] + self._foreign[replica] * left
            delays.append(self._believed_ms(replica, left) * max(1.0, (calls + 1) / slots))
        return Choice(least(delays, self._rng))

    def sent(self, choice: Choice, *, now_ms: float) -> None:  # noqa: ARG002
        self._own[choice.replica] += 1

    def finished(self, flight: Any, ended: Ended, *, now_ms: float) -> None:  # noqa: ARG002
        replica, report = ended.replica, ended.report
        self._own[replica] -= 1
        if report is None:
            return
        believed_ms = self._believed_ms(replica, exp((self._heard_ms[replica] - now_ms) / TAU_MS))
        self._service_ms[replica] = believed_ms + (report.service_ms - believed_ms) * GAIN
        self._middle_ms = median(self._service_ms.values())
        self._foreign[replica] = max(0, report.queued + report.in_service - self._own[replica])
        self._heard_ms[replica] = now_ms

    def _believed_ms(self, replica: int, left: float) -> float:
        own_ms = self._service_ms.get(replica, self._middle_ms)
        return self._middle_ms + (own_ms - self._middle_ms) * left
