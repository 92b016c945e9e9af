"""When a pool that is believed to be too slow is asked all the same.

A refusal teaches nothing. Where everybody asks for less time than any replica is believed to take, nobody
calls them, and the belief outlives what it was learned from. So a request that would be refused, but would be
in time if models were as their cards say, goes out: one at a time, each that is late doubling the pause until
the next, and the first that is in time ending it. It would have got no answer otherwise, so it loses nothing.
"""

from __future__ import annotations

from typing import Any

from models.base import Frozen
from models.bounds import Positive


class DoubtConfig(Frozen):
    """`first_ms` is the pause after one that was late, `longest_ms` what it doubles to."""

    first_ms: Positive = 200.0
    longest_ms: Positive = 6400.0


class Doubt:
    """Of one pool. Times are wall milliseconds. Written under the load table's lock only."""

    def __init__(self, config: DoubtConfig) -> None:
        self._config = config
        self._asked: int | None = None
        self._pause_ms = 0.0
        self._until_ms = 0.0

    def allowed(self, now_ms: float) -> bool:
        """Whether a replica may be asked, if no call is out there that will tell anyway."""
        return self._asked is None and now_ms >= self._until_ms

    def asked(self, number: int) -> None:
        """The call of this number is on its way because of the doubt."""
        self._asked = number

    def ended(self, number: int, now_ms: float, *, in_time: bool) -> bool:
        """A call has ended; True if it was that one."""
        if number != self._asked:
            return False
        self._asked = None
        doubled_ms = min(max(self._config.first_ms, 2 * self._pause_ms), self._config.longest_ms)
        self._pause_ms = 0.0 if in_time else doubled_ms
        self._until_ms = now_ms + self._pause_ms
        return True

    def export(self) -> dict[str, Any]:
        """The state as JSON can hold it."""
        return {"asked": self._asked, "pause_ms": self._pause_ms, "until_ms": self._until_ms}

    def restore(self, state: dict[str, Any]) -> None:
        self._asked, self._pause_ms, self._until_ms = state["asked"], state["pause_ms"], state["until_ms"]
