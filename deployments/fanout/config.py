"""What the fan-out needs: the broker, the strategies, and its timings."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from messaging.config import KafkaConfig, NatsConfig
from models.base import Frozen
from models.strategy import Strategy

_Positive = Annotated[float, Field(gt=0)]


class FanoutTimings(Frozen):
    """Seconds, except `clock_error_ns`.

    `append_timeout_s`: after it an append counts as unknown. `retry_s`: mean pause before asking a broker
    again. `lookback_s`: how far back predictions are read at the start, longer than any forecast lives.
    `beat_s`: how often an owner without signals says that it lives. `checkpoint_s`: how often one saves its
    fold, if enough has happened since. `drain_s`: how long a stopping worker that has left its group goes on
    while others take over. `clock_error_ns`: how far this host's clock may be off; a signal that could be
    late by it is late.
    """

    append_timeout_s: _Positive = 2.0
    retry_s: _Positive = 0.1
    lookback_s: _Positive = 120.0
    beat_s: _Positive = 1.0
    checkpoint_s: _Positive = 2.0
    drain_s: Annotated[float, Field(ge=0)] = 1.5
    clock_error_ns: Annotated[int, Field(ge=0)] = 0


class WorkerConfig(FanoutTimings):
    """One worker; `name` is unique among those alive."""

    name: str


class FanoutConfig(Frozen):
    """The deployment: `workers` share the users among them. `unhealthy_after_s`: for how long a partition may
    be assigned without being live before its worker is replaced. Over `nats`, if given, halts are heard
    sooner than from the log.
    """

    kafka: KafkaConfig
    nats: NatsConfig | None = None
    strategies: Annotated[tuple[Strategy, ...], Field(min_length=1)]
    timings: FanoutTimings = FanoutTimings()
    workers: Annotated[int, Field(gt=0)] = 1
    unhealthy_after_s: _Positive = 60.0
    num_cpus: Annotated[float, Field(ge=0)] = 0.2
