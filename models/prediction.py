"""What the forecaster writes to `hub.predictions`: one record per due slot, shared by all users."""

from __future__ import annotations

import operator
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from models.base import Frozen
from models.decision import Decision, Degradation
from models.evidence import Spread
from models.forecast import Forecast


class Slot(Frozen):
    """A moment at which a strategy owes a forecast; its identity is `signal_id`."""

    signal_id: str
    strategy: str
    symbol: str
    bar_ms: int
    horizon_ms: int
    bar_close_ms: int

    @property
    def series(self) -> tuple[str, str, int]:
        """Within a series bar closes only grow."""
        return self.strategy, self.symbol, self.horizon_ms


class ReferencePrice(Frozen):
    """The quote a forecast is made against."""

    bid: float
    ask: float
    ts_ms: int


class Lineage(Frozen):
    """Where an answer came from, down to the artefact's hash and the replica. `members` are the weights, by
    `name@version`, of those that an ensemble made it of; left out for any other model.
    """

    model: str
    version: str
    artifact_sha256: str
    calibration: str
    replica: str
    decision_id: str
    attempts: int
    inference_us: int
    queue_us: int
    degradation: Degradation
    members: dict[str, float] = Field(default_factory=dict, exclude_if=operator.not_)


class SkipReason(StrEnum):
    """Why a due slot has no forecast."""

    TAKE_OVER = "take_over"
    BEHIND = "behind"
    NO_WINDOW = "no_window"
    STALE_DATA = "stale_data"
    REFUSED = "refused"
    TIMEOUT = "timeout"


class _Owed(Frozen):
    schema_: Literal["hub.prediction/1"] = Field("hub.prediction/1", alias="schema")
    epoch: int
    slot: Slot
    asof_ms: int
    generated_ns: int
    expires_ns: int
    stages: dict[str, int]
    traceparent: str


class Prediction(_Owed):
    """A forecast for a slot with its decision. `asof_ms` is market time of the newest tick used; `spread` is
    what the forecast promised at the other levels, for whoever judges it later.
    """

    kind: Literal["prediction"] = "prediction"
    forecast: Forecast
    reference: ReferencePrice
    lineage: Lineage
    decision: Decision | None
    spread: Spread | None = None


class Skipped(_Owed):
    """A due slot without a forecast, and why; becomes an abstain for every subscriber while unexpired."""

    kind: Literal["skipped"] = "skipped"
    reason: SkipReason
    detail: str
    reference: ReferencePrice | None = None


Owed = Annotated[Prediction | Skipped, Field(discriminator="kind")]
