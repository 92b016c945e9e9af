"""A moment's patience with callers that the copy of `hub.tenants` does not know yet.

The control plane has answered as soon as the log has a new tenant or API key; a room's copy reads it some
milliseconds later, on the bundled broker up to a tenth of a second. Whoever calls at once would be refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from deployments.front.tenants_tail import TenantsTail
from deployments.front.tokens import NotKnownYet
from deployments.front.verified import Known

WITHIN_S: Final = 0.3
MOST: Final = 64
"""So many wait at a time, and no more: names that nobody has shall not hold requests up."""


class CatchingUp:
    """Asks again whenever the copy that `tail` keeps has read on."""

    def __init__(self, tail: TenantsTail, *, within_s: float = WITHIN_S, most: int = MOST) -> None:
        self._tail = tail
        self._within_s = within_s
        self._most = most
        self._waiting = 0

    async def known(self, ask: Callable[[], Awaitable[Known]]) -> Known:
        """What `ask` says. NotKnownYet only where it still says so after `within_s`, or too many wait."""
        try:
            return await ask()
        except NotKnownYet:
            if self._waiting >= self._most:
                raise
        self._waiting += 1
        try:
            return await self._patiently(ask)
        finally:
            self._waiting -= 1

    async def _patiently(self, ask: Callable[[], Awaitable[Known]]) -> Known:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._within_s
        while await self._tail.reads_on(until - loop.time()):
            try:
                return await ask()
            except NotKnownYet:
                continue  # the log said something else meanwhile
        return await ask()
