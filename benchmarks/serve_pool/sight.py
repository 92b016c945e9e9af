"""What the routers of this process picked, and how many replicas they may see.

A module of its own: Serve copies the module of a router by value, and this one is shared.
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any, Final

PICKS: Final[defaultdict[str, list[tuple[float, str]]]] = defaultdict(list)
"""Monotonic seconds and replica of every call sent, by application."""
_ROUTERS: Final[list[Any]] = []
_SHOWN: Final = [1_000]


def picked(application: str, replica: str) -> None:
    """A call was sent."""
    PICKS[application].append((time.monotonic(), replica))


def shown() -> int:
    """How many replicas of a pool its router may see."""
    return _SHOWN[0]


def watches(router: Any) -> None:
    """A router came to be."""
    _ROUTERS.append(router)


def show(replicas: int) -> None:
    """Let every router see so many from now on, as if that many were running."""
    _SHOWN[0] = replicas
    for router in _ROUTERS:
        router._event_loop.call_soon_threadsafe(router.look_again)  # noqa: SLF001 - Serve's own
