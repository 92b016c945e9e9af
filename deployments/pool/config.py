"""What a pool is made of. Travels inside Serve's bind arguments, so it holds no secret."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from deployments.router.names import LOCAL_POOL
from models.base import Frozen
from models.card import ModelName


def _not_local(name: str) -> str:
    if name == LOCAL_POOL:
        raise ValueError(f"the name {LOCAL_POOL!r} is taken by the pool inside each caller")
    return name


PoolName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$"), AfterValidator(_not_local)]


class PoolConfig(Frozen):
    """One pool. `repository` is the model repository's directory on every node, `models` picks from it.

    A replica makes `slots` runs at once, each on one thread, and lets `max_queue` calls wait; the next is
    refused. With `batch`, calls that wait for the same model run as one of at most `batch_rows` rows.
    `hardware` names the class that service times are comparable within.
    """

    name: PoolName
    repository: str
    models: tuple[ModelName, ...] | Literal["*"] = "*"
    replicas: Annotated[int, Field(gt=0)] = 2
    slots: Annotated[int, Field(gt=0)] = 2
    max_queue: Annotated[int, Field(ge=0)] = 32
    batch: bool = True
    batch_rows: Annotated[int, Field(gt=0)] = 64
    hardware: str = "cpu"
    num_cpus: Annotated[float, Field(ge=0)] = 0.1
    health_period_s: Annotated[float, Field(gt=0)] = 5.0
    health_timeout_s: Annotated[float, Field(gt=0)] = 20.0
    shutdown_s: Annotated[float, Field(gt=0)] = 5.0

    @property
    def max_ongoing(self) -> int:
        """What Serve may send to a replica: well above its own bound, so that the replica's typed refusal
        answers an overload, and not Serve's retries.
        """
        return 4 * (self.slots + self.max_queue) + 32
