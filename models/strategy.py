"""A trading strategy: which forecasts it owes, with which requirements, and how one becomes an action."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from models.base import Frozen

StrategyRef = str
"""`name@version`."""


class ForecastNeeds(Frozen):
    """Requirements of the routed call; `max_latency_ms` counts from the close of the bar."""

    routing_strategy: str = "balanced"
    max_latency_ms: Annotated[int, Field(gt=0)] = 500
    min_accuracy: Annotated[float, Field(gt=0, lt=1)] | None = None


class TargetFractionPolicy(Frozen):
    """target = clip(gain x q50 / (q95 - q05), -1, 1); abstain below `min_edge`."""

    kind: str = "target_fraction"
    gain: Annotated[float, Field(gt=0)] = 4.0
    min_edge: Annotated[float, Field(ge=0)] = 0.02


class Strategy(Frozen):
    """One entry of `config/strategies.yaml`. `ttl_ms` is wall time from bar close to `expires_ns`."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
    version: Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+){0,2}$")]
    symbols: tuple[str, ...]
    bar_ms: Annotated[int, Field(gt=0)]
    horizon_ms: Annotated[int, Field(gt=0)]
    ttl_ms: Annotated[int, Field(gt=0)] = 5000
    needs: ForecastNeeds = ForecastNeeds()
    policy: TargetFractionPolicy = TargetFractionPolicy()

    @property
    def ref(self) -> StrategyRef:
        return f"{self.name}@{self.version}"
