"""Exponential backoff, so that rebuilding producers does not turn a slow broker into a storm."""

from __future__ import annotations


class Backoff:
    """Grows from `first_s` to `most_s` by doubling; `reset` after a success."""

    def __init__(self, *, first_s: float = 0.05, most_s: float = 2.0) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._next_s = 0.0

    def next_s(self) -> float:
        """Seconds to wait before this attempt: none for the first after a success."""
        wait_s = self._next_s
        self._next_s = min(self._most_s, max(self._first_s, 2 * wait_s))
        return wait_s

    def reset(self) -> None:
        self._next_s = 0.0
