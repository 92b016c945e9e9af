"""Garbage collections that a process which answers can do without: each of them stops its loop.

By Python's default every 700 new objects are a reason to look at the young ones, which in a busy loop belong
to calls under way, and now and then a full collection walks all that lives as long as the process: modules,
models, the books of many users. In a gateway that took 25 to 72 ms.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Final

_YOUNG: Final = 20_000
"""New objects before the young ones are looked at: more than the records of a large slot."""
_POLL_S: Final = 0.5


def spare_collections() -> None:
    """Let collections be rare from now on, and pass over what is there now."""
    gc.collect()
    gc.freeze()
    _, *older = gc.get_threshold()
    gc.set_threshold(_YOUNG, *older)


async def spare_collections_once(ready: Callable[[], bool]) -> None:
    """The same, as soon as everything is there that will stay."""
    while not ready():  # noqa: ASYNC110 - nobody has an event for it, and nothing hangs on the moment
        await asyncio.sleep(_POLL_S)
    spare_collections()
