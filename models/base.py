"""The one base of every boundary type."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """An immutable value that refuses unknown fields, so that a typo is an error and not a default.

    What is read from a log or a store is not typed by hand: `from_record` reads it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @classmethod
    def from_record(cls, value: bytes) -> Self:
        """The value of a record that another release may have written: fields unknown here are ignored, at
        every depth. pydantic's ValidationError if it is none (`docs/decisions/0017`).
        """
        return cls.model_validate_json(value, extra="ignore")
