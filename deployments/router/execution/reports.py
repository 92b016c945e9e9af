"""What a worker says of its load on everything it sends back."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any, Final

from deployments.router.execution.batching import Part
from deployments.router.execution.slots import Slots
from deployments.router.replies import Refusal
from models.card import ModelCard
from models.errors import HubError
from models.forecast import InferCall, InferReply, LoadReport
from routing.beliefs.placement import size_of
from routing.trials.sketch import ServiceSketch, Typical

_UNKNOWN: Final = Typical(0.0, 0.0)


@dataclass(slots=True)
class Reports:
    """Numbers the reports of one worker since its start, which `boot` names.

    A call's service time is its share of the run it was part of, and its queue time all the rest that it
    spent here: waiting for a slot and for those it ran together with. So the service times of all calls add
    up to the time that slots were taken, which is what callers predict queues with, and the two together are
    the time in the replica, which is what callers tell the way there from.
    """

    replica: str
    boot: str
    slots: Slots[Any]
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _sketch: ServiceSketch = field(default_factory=ServiceSketch)

    def reply(self, call: InferCall, part: Part, card: ModelCard, *, arrived_ns: int) -> InferReply:
        run, service_ms = part.run, part.service_ms
        inside_ms = (run.finished_ns - arrived_ns) / 1e6
        return InferReply(
            forecasts=part.forecasts,
            artifact_sha256=card.sha256,
            calibration=card.calibration.version,
            started_ns=run.started_ns,
            finished_ns=run.finished_ns,
            load=self._report(
                call,
                service_ms=service_ms,
                queue_ms=inside_ms - service_ms,
                typical=self._typical(call, service_ms, run.finished_ns),
            ),
        )

    def refusal(self, call: InferCall, error: HubError) -> Refusal:
        return Refusal(error, self._report(call, service_ms=0.0, queue_ms=0.0))

    def _typical(self, call: InferCall, service_ms: float, now_ns: int) -> Typical:
        """What calls like this one take here, whoever made them."""
        return self._sketch.observe((call.model, size_of(len(call.window))), service_ms, now_ns / 1e6)

    def _report(
        self, call: InferCall, *, service_ms: float, queue_ms: float, typical: Typical = _UNKNOWN
    ) -> LoadReport:
        return LoadReport(
            replica=self.replica,
            boot=self.boot,
            seq=next(self._numbers),
            queued=self.slots.queued,
            in_service=self.slots.in_service,
            slots=self.slots.slots,
            service_ms=service_ms,
            queue_ms=queue_ms,
            rows=call.window.shape[0] if call.window.ndim else 0,
            typical_ms=typical.service_ms,
            typical_calls=typical.calls,
        )
