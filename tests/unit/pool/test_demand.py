"""What a replica records for the autoscaler."""

from __future__ import annotations

from typing import Any

import pytest

from deployments.pool.config import PoolConfig
from deployments.pool.demand import Demand
from deployments.router.replies import Refusal
from models.errors import BadShape, DeadlineExpired, HubError
from models.forecast import InferReply, LoadReport

MS = 1_000_000


class Replica:
    """Demand with a clock that is set by hand (ms)."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.demand = Demand(slots=2, clock=lambda: self.now_ms * MS)

    def answers(self, *, deadline_ms: int, queue_ms: float = 0.0) -> None:
        report = a_report(queue_ms=queue_ms, service_ms=100.0)
        self.demand.ended(InferReply([], "a" * 64, "c", 0, 0, report), deadline_ms * MS)

    def refuses(self, error: HubError) -> None:
        self.demand.ended(Refusal(error, a_report()), 0)


def a_report(**changes: Any) -> LoadReport:
    """A report with one call waiting."""
    fields = {"queued": 1, "in_service": 0, "slots": 2, "service_ms": 0.0, "queue_ms": 0.0, "rows": 1}
    return LoadReport(replica="r", boot="b", seq=1, **fields | changes)


def test_rates_and_means_since_the_last_time() -> None:
    """Four calls of 100 ms in a second on two slots; what was not measured is absent."""
    replica = Replica()
    for _ in range(4):
        replica.answers(deadline_ms=5000)
    replica.now_ms = 1000

    assert replica.demand.stats() == {
        "slots": 2,
        "arrived_per_s": 4.0,
        "busy": pytest.approx(0.2),
        "queued": 1,
        "waited": 0.0,
        "service_ms": 100.0,
    }
    replica.now_ms = 2000
    assert replica.demand.stats() == {"slots": 2, "arrived_per_s": 0.0, "busy": 0.0, "queued": 0}


def test_only_deadlines_lost_to_waiting_count() -> None:
    """More replicas help neither a model that is too slow nor a caller with the wrong shape."""
    replica = Replica()
    replica.now_ms = 1000
    replica.answers(deadline_ms=900, queue_ms=150.0)
    replica.answers(deadline_ms=900, queue_ms=50.0)
    replica.refuses(DeadlineExpired("left the queue late"))
    replica.refuses(BadShape("wrong"))

    assert replica.demand.stats()["waited"] == 0.5


def test_bounds_must_make_sense() -> None:
    """The refusal names the field."""
    with pytest.raises(ValueError, match="max_replicas was 1"):
        PoolConfig(name="a", repository="x", replicas=2, max_replicas=1)
