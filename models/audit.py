"""What is written down of every change and every refusal."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field

from models.base import Frozen


class Outcome(StrEnum):
    """Whether what was asked was done."""

    DONE = "done"
    DENIED = "denied"


class AuditEntry(Frozen):
    """Who (`actor`, a user id) did or was denied what (`action`, as `users.create`) to which object.

    `details` hold what changed, never a secret.
    """

    actor: str
    action: str
    object: str
    outcome: Outcome = Outcome.DONE
    at_ns: int
    details: dict[str, Any] = Field(default_factory=dict)
