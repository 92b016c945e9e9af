"""What a pool is made of. Travels inside Serve's bind arguments, so it holds no secret."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from deployments.router.names import ENSEMBLE_POOL, LOCAL_POOL
from messaging.config import KafkaConfig
from models.base import Frozen
from models.card import ModelName


def _not_local(name: str) -> str:
    if name in {LOCAL_POOL, ENSEMBLE_POOL}:
        raise ValueError(f"the name {name!r} is taken by a pool inside each caller")
    return name


PoolName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$"), AfterValidator(_not_local)]


class RegisteredConfig(Frozen):
    """Where a replica learns of models that are registered while it runs, where it fetches them, and the key
    that it checks their signatures with. One that is not live is loaded by `copies` replicas of the pool, and
    by up to `most_copies` where it is asked for so much that a load is sooner than waiting. Beyond
    `most_bytes` of memory, as a replica estimates it, the least recently used that is not live is unloaded
    until it is asked for again.
    """

    kafka: KafkaConfig
    artefacts: str
    verify_key: str
    copies: Annotated[int, Field(gt=0)] = 2
    most_copies: Annotated[int, Field(gt=0)] = 4
    most_bytes: Annotated[int, Field(gt=0)] = 1 << 30


class PoolConfig(Frozen):
    """One pool. `repository` is the model repository's directory on every node, `models` picks from it.

    A replica makes `slots` runs at once, each on one thread, and lets `max_queue` calls wait; the next is
    refused. With `batch`, calls that wait for the same model run as one of at most `batch_rows` rows.
    `hardware` names the class that service times are comparable within. With `registered` it also holds the
    models that are registered at run time.

    With `max_replicas` the pool grows from `replicas` up to that and shrinks again, by what it recorded over
    `look_back_s`, after the two delays (docs/scaling.md).
    """

    name: PoolName
    repository: str
    models: tuple[ModelName, ...] | Literal["*"] = "*"
    replicas: Annotated[int, Field(gt=0)] = 2
    max_replicas: Annotated[int, Field(gt=0)] | None = None
    look_back_s: Annotated[float, Field(gt=10)] = 12.0
    upscale_delay_s: Annotated[float, Field(ge=0)] = 0.0
    downscale_delay_s: Annotated[float, Field(ge=0)] = 120.0
    slots: Annotated[int, Field(gt=0)] = 2
    max_queue: Annotated[int, Field(ge=0)] = 32
    batch: bool = True
    batch_rows: Annotated[int, Field(gt=0)] = 64
    hardware: str = "cpu"
    registered: RegisteredConfig | None = None
    num_cpus: Annotated[float, Field(ge=0)] = 0.1
    health_period_s: Annotated[float, Field(gt=0)] = 5.0
    health_timeout_s: Annotated[float, Field(gt=0)] = 20.0
    shutdown_s: Annotated[float, Field(gt=0)] = 5.0

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            raise ValueError(
                f"max_replicas was {self.max_replicas}, which is below replicas = {self.replicas}"
            )
        return self

    @property
    def max_ongoing(self) -> int:
        """What Serve may send to a replica: well above its own bound, so that the replica's typed refusal
        answers an overload, and not Serve's retries.
        """
        return 4 * (self.slots + self.max_queue) + 32
