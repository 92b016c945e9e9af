"""The replicas as they really are. Routers do not see this; the oracle does."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.queueing.traces import Trace
from models.forecast import LoadReport
from routing.trials.sketch import ServiceSketch

BOOT: Final = "boot"


@dataclass(slots=True, eq=False)
class Call:
    """One call on its way. `flight` is what its router wants back; `over` once that waits for it no more.

    `other` is the call that was sent for the same request, if there are two.
    """

    number: int
    attempt: int
    router: int
    replica: Replica
    flight: Any
    sent_ms: float
    other: Call | None = None
    arrived_ms: float = 0.0
    started_ms: float = 0.0
    service_ms: float = 0.0
    over: bool = False


@dataclass(slots=True, eq=False)
class Replica:
    """Slots with a queue in front of them. `assigned` counts the calls chosen for it that it has not ended,
    those on the way included; `factor` is how many times as long as usual a call takes.
    """

    number: int
    name: str
    slots: int
    factor: float = 1.0
    busy: int = 0
    assigned: int = 0
    replies: int = 0
    waiting: deque[Call] = field(default_factory=deque)
    sketch: ServiceSketch = field(default_factory=ServiceSketch)

    def report(self, call: Call) -> LoadReport:
        """What a pool's worker says on the reply to a call, which it no longer counts."""
        self.replies += 1
        typical = self.sketch.observe("model", call.service_ms, call.started_ms + call.service_ms)
        return LoadReport(
            self.name,
            BOOT,
            self.replies,
            len(self.waiting),
            self.busy,
            self.slots,
            call.service_ms,
            call.started_ms - call.arrived_ms,
            1,
            typical.service_ms,
            typical.calls,
        )


class Pool:
    """All replicas, with the true mean service time of each."""

    def __init__(self, trace: Trace) -> None:
        self.mean_ms = trace.mean_ms
        self.replicas = [Replica(number, f"r{number}", slots) for number, slots in enumerate(trace.slots)]

    def change(self, factors: Sequence[float]) -> None:
        """Calls that start from now on take so many times as long."""
        for replica, factor in zip(self.replicas, factors, strict=True):
            replica.factor = factor

    def expected_ms(self) -> list[float]:
        """True expected time from the arrival of one more call to its end, per replica; without the way."""
        mean_ms = self.mean_ms
        return [
            mean_ms * replica.factor * (replica.assigned + 1) / replica.slots
            if replica.assigned >= replica.slots
            else mean_ms * replica.factor
            for replica in self.replicas
        ]
