"""What a process needs in order to route."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from models.base import Frozen
from models.card import ModelName


class LocalConfig(Frozen):
    """Models that a routing process holds itself: of those named, the ones whose warm p50 for one row is at
    most `max_ms`.

    A call of at most `inline_ms` by its model's card runs on the event loop, any other on one of `slots`
    threads, where calls for the same model share a run of at most `batch_rows` rows; `max_queue` calls may
    wait for one.
    """

    repository: str
    models: tuple[ModelName, ...] | Literal["*"] = "*"
    max_ms: Annotated[float, Field(gt=0)] = 1.0
    inline_ms: Annotated[float, Field(ge=0)] = 0.5
    slots: Annotated[int, Field(gt=0)] = 1
    max_queue: Annotated[int, Field(ge=0)] = 32
    batch_rows: Annotated[int, Field(ge=0)] = 64


class RouterConfig(Frozen):
    """Which pools there are, and the routing profiles as YAML text (`config/profiles.yaml`).

    Calls whose tensors have at least `by_reference_from_bytes` go through Ray's object store, smaller ones by
    gRPC, which is faster until about half a megabyte. A pool without replicas is waited for `seen_timeout_s`.
    Without `local`, every call goes to a pool. `experiments` is YAML text, too (`config/experiments.yaml`).
    Models that are canaries answer `canary_share` of the requests that name no model.
    """

    pools: tuple[str, ...]
    profiles: str
    by_reference_from_bytes: Annotated[int, Field(ge=0)] = 512 * 1024
    seen_timeout_s: Annotated[float, Field(gt=0)] = 10.0
    local: LocalConfig | None = None
    experiments: str = ""
    canary_share: Annotated[float, Field(ge=0, le=1)] = 0.0
