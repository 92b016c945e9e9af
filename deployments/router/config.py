"""What a process needs in order to route."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from models.base import Frozen


class RouterConfig(Frozen):
    """Which pools there are, and the routing profiles as YAML text (`config/profiles.yaml`).

    Calls whose tensors have at least `by_reference_from_bytes` go through Ray's object store, smaller ones by
    gRPC, which is faster until about half a megabyte. A pool without replicas is waited for `seen_timeout_s`.
    """

    pools: tuple[str, ...]
    profiles: str
    by_reference_from_bytes: Annotated[int, Field(ge=0)] = 512 * 1024
    seen_timeout_s: Annotated[float, Field(gt=0)] = 10.0
