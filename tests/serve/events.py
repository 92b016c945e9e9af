"""What Serve called on this process's recording routers. A module of its own, because Serve copies theirs."""

from __future__ import annotations

from typing import Final

SEEN: Final[list[tuple[str, str, str]]] = []
"""(pool, callback, replica), in order."""


def note(pool: str, callback: str, replica: str) -> None:
    """Append one call."""
    SEEN.append((pool, callback, replica))


def of(pool: str, replica: str) -> list[str]:
    """The callbacks about one replica."""
    return [callback for where, callback, which in SEEN if (where, which) == (pool, replica)]


def count(callback: str) -> int:
    """How often a callback was called, for any replica."""
    return sum(name == callback for _, name, _ in SEEN)
