"""The calibrated answer of a model for one window, and the call and reply of a replica."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.base import Frozen


class Forecast(Frozen):
    """Log return over the horizon: quantiles, the answered interval and its promised level."""

    q05: float
    q50: float
    q95: float
    lower: float
    upper: float
    level: float
    prob_up: float
    in_distribution: bool


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a replica says of itself on every reply. `boot` and `seq` order reports; `in_service` and `queued`
    count calls, `slots` run in parallel. `service_ms` is this call's own time (its share, by rows, of a run
    that answered several), `queue_ms` the rest of its time in the replica, `rows` its size. `typical_ms` is
    the mean time of calls like this one, of any caller, and `typical_calls` how many calls' evidence that is.
    `load_ms` is what the call waited for its model to be loaded; it is in neither of the other two.
    """

    replica: str
    boot: str
    seq: int
    queued: int
    in_service: int
    slots: int
    service_ms: float
    queue_ms: float
    rows: int
    typical_ms: float = 0.0
    typical_calls: float = 0.0
    load_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class InferCall:
    """One call to a replica: `window` float32[n, 256], `context` float32[n, k], with its deadline."""

    call_id: str
    model: str
    window: NDArray[np.float32]
    context: NDArray[np.float32]
    interval_level: float
    deadline_ns: int
    traceparent: str

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors."""
        return self.window.nbytes + self.context.nbytes


@dataclass(frozen=True, slots=True)
class InferReply:
    """Calibrated forecasts, one per row, with the hash of the artefact that made them. `members` are the
    weights, by `name@version`, of those that an ensemble made them of.
    """

    forecasts: list[Forecast]
    artifact_sha256: str
    calibration: str
    started_ns: int
    finished_ns: int
    load: LoadReport
    members: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Stages:
    """Stage clock: wall nanoseconds at which each stage of a slot was reached; written by each hop once."""

    times: dict[str, int] = field(default_factory=dict)

    def mark(self, stage: str, now_ns: int) -> None:
        self.times.setdefault(stage, now_ns)
