"""The one base of every boundary type."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """An immutable value that refuses unknown fields, so that a typo is an error and not a default."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
