"""What a replica saw of its calls since it was last asked, for the autoscaler in Serve's controller."""

from __future__ import annotations

from collections.abc import Callable

from deployments.router.replies import Refusal, Reply
from models.errors import DeadlineExpired, ReplicaBusy
from models.forecast import LoadReport


class Demand:
    """Counts calls and their times. Belongs to one event loop."""

    def __init__(self, *, slots: int, clock: Callable[[], int]) -> None:
        self._slots = slots
        self._clock = clock
        self._load: LoadReport | None = None
        self._begin()

    def ended(self, reply: Reply, deadline_ns: int) -> None:
        """A call was answered or refused."""
        self._arrived += 1
        self._load = reply.load
        if isinstance(reply, Refusal):
            self._waited += isinstance(reply.error, DeadlineExpired | ReplicaBusy)
            return
        self._served += 1
        self._service_ms += reply.load.service_ms
        late_ms = (self._clock() - deadline_ns) / 1e6
        self._waited += 0.0 < late_ms <= reply.load.queue_ms

    def stats(self) -> dict[str, float]:
        """Rates and means since the last time; what was not measured is absent.

        `busy` is the share of slot time in service, as the sum of service times over the time that passed;
        `waited` the share of calls that missed their deadline for waiting, those refused for it included.
        """
        passed_ms = (self._clock() - self._begun_ns) / 1e6
        if passed_ms <= 0.0:
            return {}
        stats: dict[str, float] = {
            "slots": self._slots,
            "arrived_per_s": self._arrived / passed_ms * 1e3,
            "busy": min(1.0, self._service_ms / (passed_ms * self._slots)),
            "queued": self._load.queued if self._load and self._arrived else 0,
        }
        if self._arrived:
            stats["waited"] = self._waited / self._arrived
        if self._served:
            stats["service_ms"] = self._service_ms / self._served
        self._begin()
        return stats

    def _begin(self) -> None:
        self._begun_ns = self._clock()
        self._arrived = self._served = self._waited = 0
        self._service_ms = 0.0
