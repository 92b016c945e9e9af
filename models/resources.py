"""What tenants may have at a time, in whole amounts, and the leases by which they hold it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final, NamedTuple

from pydantic import Field, StringConstraints

from models.base import Frozen

MOST: Final = 10**12
"""No amount and no limit is larger: sums of them stay far within 64 bits."""


class Resource(StrEnum):
    """One thing that is limited."""

    CONCURRENT_INFERENCES = "concurrent_inferences"
    MODELS = "models"
    STRATEGIES = "strategies"
    STORAGE_MB = "storage_mb"
    MT5_ACCOUNTS = "mt5_accounts"


UNITS: Final[Mapping[Resource, str]] = {
    Resource.CONCURRENT_INFERENCES: "calls in flight",
    Resource.MODELS: "models",
    Resource.STRATEGIES: "strategies",
    Resource.STORAGE_MB: "megabytes of 10^6 bytes",
    Resource.MT5_ACCOUNTS: "accounts",
}

Limit = Annotated[int, Field(ge=0, le=MOST, strict=True)]
Limits = Mapping[Resource, int]

DEFAULT_LIMITS: Final[Limits] = {
    Resource.CONCURRENT_INFERENCES: 4,
    Resource.MODELS: 2,
    Resource.STRATEGIES: 2,
    Resource.STORAGE_MB: 100,
    Resource.MT5_ACCOUNTS: 1,
}
"""What a tier allows of a resource that it does not name: enough to work with, and never without limit."""

Amount = Annotated[int, Field(gt=0, le=MOST, strict=True)]
Requirements = Annotated[dict[Resource, Amount], Field(min_length=1)]
"""What is asked together, granted whole or not at all."""

LeaseId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")]
TtlSeconds = Annotated[float, Field(ge=1, le=86_400, allow_inf_nan=False)]


class LeaseRef(NamedTuple):
    """Names a lease."""

    tenant_id: str
    lease_id: str


class Lease(Frozen):
    """So much of each resource, held until `expires_ns` unless it is renewed or released before."""

    tenant_id: str
    lease_id: str
    holder: str
    requirements: dict[Resource, int]
    created_ns: int
    expires_ns: int


class Standing(Frozen):
    """How a tenant stands with one resource. `in_use` may lie above a limit that was lowered since."""

    resource: Resource
    unit: str
    limit: int
    in_use: int

    @property
    def left(self) -> int:
        return max(0, self.limit - self.in_use)


class Shortage(Frozen):
    """Why not all of what was asked can be had: the first resource of which there is too little."""

    resource: Resource
    limit: int
    in_use: int
    asked: int


class Availability(Frozen):
    """Whether what was asked could be had at this moment; nothing is set aside for whoever asked."""

    available: bool
    shortages: tuple[Shortage, ...]
