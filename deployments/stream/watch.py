"""Looks at all open sockets again when the copy of `hub.tenants` has changed: a suspension or the end of a
session closes sockets within a second, and an idle hub pays nothing for it.
"""

from __future__ import annotations

import asyncio
from typing import Final, NoReturn

from deployments.front.tenants_fold import TenantsFold
from deployments.stream.switchboard import Switchboard

LOOK_S: Final = 0.25
AT_ONCE: Final = 50
"""Sockets that are looked at before others get their turn: about half a millisecond."""


class StandingWatch:
    """Run `run` as a task."""

    def __init__(self, fold: TenantsFold, switchboard: Switchboard) -> None:
        self._fold = fold
        self._switchboard = switchboard

    async def run(self) -> NoReturn:
        """Compare four times a second; look at every socket if something has changed."""
        seen = self._fold.changes
        while True:
            await asyncio.sleep(LOOK_S)
            if self._fold.changes != seen:
                seen = self._fold.changes
                await self._look()

    async def _look(self) -> None:
        for number, session in enumerate(self._switchboard):
            await session.recheck()
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
