"""Kill switches: who or what is halted, by whom and why; the records of `hub.control`."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal, Self

import orjson
from pydantic import Field, model_validator

from models.base import Frozen

EVERYTHING: Final = "*"
"""The id of a halt of scope `all`."""


class HaltScope(StrEnum):
    """What a halt stops: one user, one tenant's users, one model's forecasts, one strategy, or everything."""

    ALL = "all"
    TENANT = "tenant"
    USER = "user"
    MODEL = "model"
    STRATEGY = "strategy"


class Halt(Frozen):
    """While it is in force nobody it covers is asked to do anything: their signals abstain and name it.

    `id` is a tenant, a user, `model@version` or `strategy@version`, and `*` for scope `all`. `by` is the
    principal who asked. Value of `hub.control`, which is compacted by `key`; a tombstone resumes.
    """

    schema_: Literal["hub.halt/1"] = Field("hub.halt/1", alias="schema")
    scope: HaltScope
    id: str = Field(min_length=1, max_length=128)
    reason: str = Field(min_length=1, max_length=500)
    by: str
    at_ns: int

    @model_validator(mode="after")
    def _id_fits(self) -> Self:
        if (self.scope is HaltScope.ALL) != (self.id == EVERYTHING):
            raise ValueError(f"id was {self.id!r}; scope all has the id {EVERYTHING!r}, and no other has")
        return self

    def key(self) -> bytes:
        """The compaction key: one record per scope and id."""
        return halt_key(self.scope, self.id)


def halt_key(scope: HaltScope, halted: str) -> bytes:
    """JSON array, so that no separator can be forged by an id."""
    return orjson.dumps([scope, halted])


def halt_key_parts(key: bytes) -> tuple[HaltScope, str]:
    """Scope and id of a key; ValueError if it is none."""
    parts = orjson.loads(key)
    if not (isinstance(parts, list) and len(parts) == 2 and all(isinstance(part, str) for part in parts)):
        raise ValueError(f"key was {key!r}; expected [scope, id]")
    return HaltScope(parts[0]), parts[1]
