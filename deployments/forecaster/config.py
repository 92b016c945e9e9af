"""What the forecaster needs: brokers, strategies, pools to route to, and its timings."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from deployments.router.config import RouterConfig
from messaging.config import KafkaConfig, NatsConfig
from models.base import Frozen
from models.strategy import Strategy


class ForecastTimings(Frozen):
    """`append_timeout_s`: after it an append counts as unknown. `retry_s`: mean pause before trying again.
    `stale_after_ms`: market time without a tick after which a symbol's slots are skipped. `reach_s`: how far
    back a restore looks for the last slot of a series, in steps. `drain_s`: how long a stopping worker that
    has left its group publishes on while others take over.
    """

    append_timeout_s: Annotated[float, Field(gt=0)] = 2.0
    retry_s: Annotated[float, Field(gt=0)] = 0.1
    stale_after_ms: Annotated[int, Field(gt=0)] = 600_000
    reach_s: tuple[int, ...] = (600, 3600, 86_400)
    drain_s: Annotated[float, Field(ge=0)] = 1.5


class WorkerConfig(ForecastTimings):
    """One worker; `name` is unique among those alive."""

    name: str


class ForecasterConfig(Frozen):
    """The deployment: `workers` share the symbols among them."""

    kafka: KafkaConfig
    nats: NatsConfig
    router: RouterConfig
    strategies: Annotated[tuple[Strategy, ...], Field(min_length=1)]
    timings: ForecastTimings = ForecastTimings()
    workers: Annotated[int, Field(gt=0)] = 1
    num_cpus: Annotated[float, Field(ge=0)] = 0.2
