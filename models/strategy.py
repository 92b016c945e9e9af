"""A trading strategy: which forecasts it owes, with which requirements, and how one becomes an action."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

import yaml
from pydantic import Field, StringConstraints, ValidationError

from models.base import Frozen
from models.errors import ConfigError

StrategyRef = str
"""`name@version`."""

Symbol = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{3,20}$")]


class ForecastNeeds(Frozen):
    """Requirements of the routed call; `max_latency_ms` counts from the close of the bar."""

    routing_strategy: str = "balanced"
    max_latency_ms: Annotated[int, Field(gt=0)] = 500
    min_accuracy: Annotated[float, Field(gt=0, lt=1)] | None = None


class TargetFractionPolicy(Frozen):
    """target = clip(gain x q50 / (q95 - q05), -1, 1); abstain below `min_edge`."""

    kind: Literal["target_fraction"] = "target_fraction"
    gain: Annotated[float, Field(gt=0)] = 4.0
    min_edge: Annotated[float, Field(ge=0)] = 0.02


class Strategy(Frozen):
    """One entry of `config/strategies.yaml`. `ttl_ms` is wall time from bar close to `expires_ns`."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
    version: Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+){0,2}$")]
    symbols: Annotated[tuple[Symbol, ...], Field(min_length=1)]
    bar_ms: Annotated[int, Field(gt=0)]
    horizon_ms: Annotated[int, Field(gt=0)]
    ttl_ms: Annotated[int, Field(gt=0)] = 5000
    needs: ForecastNeeds = ForecastNeeds()
    policy: TargetFractionPolicy = TargetFractionPolicy()

    @property
    def ref(self) -> StrategyRef:
        return f"{self.name}@{self.version}"


class _File(Frozen):
    strategies: Annotated[tuple[Strategy, ...], Field(min_length=1)]


def load_strategies(text: str) -> tuple[Strategy, ...]:
    """The strategies of a `config/strategies.yaml`; ConfigError names the first field that is wrong."""
    try:
        strategies = _File.model_validate(yaml.safe_load(text)).strategies
    except yaml.YAMLError as error:
        raise ConfigError(f"strategies file is not YAML: {error}", field="strategies") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "strategies"
        raise ConfigError(f"strategies file: {field}: {first['msg']}", field=field) from error
    repeated = [ref for ref, count in Counter(one.ref for one in strategies).items() if count > 1]
    if repeated:
        raise ConfigError(
            f"strategy {repeated[0]} is there twice; give a changed strategy a new version",
            field="strategies",
        )
    return strategies
