"""When Serve is about to end this replica: it asks no code of ours until the last request has ended.

A WebSocket is a request that does not end by itself, so who holds them must know earlier.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from ray._private.worker import global_worker

_LOOK_S: Final = 0.2


async def shutting_down() -> None:
    """Return once Serve has told this replica to shut down. Call it inside of a replica."""
    replica = _replica()
    while not replica._shutting_down:  # noqa: ASYNC110, SLF001 - Serve sets no event
        await asyncio.sleep(_LOOK_S)


def _replica() -> Any:
    """Serve's own object for the replica in this process."""
    return global_worker.actors[global_worker.actor_id]._replica_impl  # noqa: SLF001 - there is no other way
