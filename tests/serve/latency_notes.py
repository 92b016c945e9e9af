"""What the noting router of this process saw. A module of its own: Serve copies the router's by value."""

from __future__ import annotations

from collections import Counter
from typing import Any

ROUTERS: list[Any] = []
ENDS: Counter[str] = Counter()
READ: Counter[bool] = Counter()


def made(router: Any) -> None:
    """A router of this process came to be."""
    ROUTERS.append(router)


def ended(flight: Any, end: str) -> None:
    """A call ended."""
    ENDS[end] += 1


def read(*, ok: bool) -> None:
    """A stream was read to its end or to an error."""
    READ[ok] += 1


def forget() -> None:
    """Start a test afresh; the routers live on."""
    ENDS.clear()
    READ.clear()
