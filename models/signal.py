"""`hub.signal/1`: one prediction projected for one (user, account); the value of `user.signals`.

The hot path writes these bytes with a template (`signals/encoding.py`); this type is the contract that
those bytes must satisfy and what any reader may parse them with.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, model_validator

from models.base import Frozen
from models.forecast import Forecast
from models.prediction import Lineage, ReferencePrice


class Kind(StrEnum):
    """What a signal asks for: to hold `target_fraction`, nothing, or to hold nothing. It is desired state, so
    repeating one is harmless. An account goes from long to short and back by way of `close`.
    """

    ADJUST = "adjust"
    ABSTAIN = "abstain"
    CLOSE = "close"


class Risk(Frozen):
    """What the projection decided for this user, and which limits it hit.

    `per_minute` is the user's limit on signals that ask for something, if there is one.
    """

    tier: str
    scale: float
    limits_hit: tuple[str, ...] = ()
    per_minute: int | None = None


class Source(Frozen):
    """The prediction record a signal came from, and its writer's epoch there."""

    partition: int
    offset: int
    epoch: int


class Signal(Frozen):
    """Invariants (each tested): generated < expires; q05 <= q50 <= q95; sign(target) == direction;
    direction 0 iff the kind is abstain or close; ids re-derive from the fields.

    `epoch` is the offset of the claim of the writer in this partition; `part` is (i, n) of the batches of
    one prediction in this partition; `subscription_offset` the subscriptions it was projected at.
    """

    schema_: Literal["hub.signal/1"] = Field("hub.signal/1", alias="schema")
    signal_id: str
    strategy: str
    symbol: str
    bar_ms: int
    horizon_ms: int
    bar_close_ms: int
    asof_ms: int
    generated_ns: int
    expires_ns: int
    clock_error_ns: int
    forecast: Forecast | None
    reference: ReferencePrice | None
    lineage: Lineage | None
    source: Source
    stages: dict[str, int]
    traceparent: str

    epoch: int
    part: tuple[int, int]
    subscription_offset: int
    projected_ns: int

    delivery_id: str
    tenant_id: str
    user_id: str
    account_id: str
    sequence: int
    kind: Kind
    direction: Literal[-1, 0, 1]
    target_fraction: float | None
    reason: str
    risk: Risk

    @model_validator(mode="after")
    def _holds(self) -> Self:
        if self.generated_ns >= self.expires_ns:
            raise ValueError("generated_ns was not before expires_ns")
        if (self.direction == 0) != (self.kind in {Kind.ABSTAIN, Kind.CLOSE}):
            raise ValueError(f"direction {self.direction} does not fit kind {self.kind.value}")
        if _sign(self.target_fraction) != self.direction:
            raise ValueError(
                f"target_fraction {self.target_fraction} does not fit direction {self.direction}"
            )
        if self.forecast and not self.forecast.q05 <= self.forecast.q50 <= self.forecast.q95:
            raise ValueError("quantiles are not in order")
        return self


def _sign(value: float | None) -> int:
    return 0 if not value else (1 if value > 0 else -1)
