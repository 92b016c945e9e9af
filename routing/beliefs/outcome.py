"""What can become of a call to a replica."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Outcome(StrEnum):
    """What became of a call. Only `failed`, `timeout` and `lost` speak against the replica."""

    OK = "ok"
    REFUSED = "refused"
    FAILED = "failed"
    TIMEOUT = "timeout"
    LOST = "lost"
    CANCELLED = "cancelled"


AGAINST_REPLICA: Final = frozenset({Outcome.FAILED, Outcome.TIMEOUT, Outcome.LOST})
