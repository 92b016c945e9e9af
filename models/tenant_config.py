"""The layers of a tenant's config, and their versions as the database keeps them."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, NamedTuple

from pydantic import Field

from models.base import Frozen


class Layer(StrEnum):
    """From the widest to the narrowest: what a later one says goes before what an earlier one says."""

    DEFAULT = "default"
    GLOBAL = "global"
    ENVIRONMENT = "environment"
    TIER = "tier"
    TENANT = "tenant"
    USER = "user"


OWN_LAYERS: Final = frozenset({Layer.TENANT, Layer.USER})
"""Those that belong to a tenant; the others are the platform's."""


class LayerKey(NamedTuple):
    """Which document: a layer, and whose. `subject` is an environment, a tier or a user, else empty."""

    layer: Layer
    subject: str = ""

    def __str__(self) -> str:
        """`global`, `environment.production`, `tier.pro`, `tenant`, `user.u-1`."""
        return f"{self.layer}.{self.subject}" if self.subject else self.layer.value


class ConfigVersion(Frozen):
    """One version of one layer, never changed again. Versions count from 1.

    `document` holds values by dotted name. In place of a secret it has a reference, which means nothing to
    anybody but the database.
    """

    version: int
    author: str
    at_ns: int
    comment: str = ""
    document: dict[str, Any] = Field(default_factory=dict)


NO_VERSION: Final = ConfigVersion(version=0, author="", at_ns=0)
"""What a layer is before anybody wrote it."""
