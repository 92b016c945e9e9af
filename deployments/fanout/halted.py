"""The halts a worker obeys: those of the log, and for a while those it was told of ahead of the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any, Final, NoReturn

from messaging.control import FRESH_S, ControlLog, hear_halts
from messaging.ports import Broadcast, EventBus
from models.errors import BrokerUnavailable
from signals.halts import Halts

_READ_S: Final = 10.0


class LiveHalts:
    """Shared by all partitions of a worker; kept up to date by the task in `run`."""

    def __init__(
        self,
        bus: EventBus,
        broadcast: Broadcast | None,
        *,
        clock: Callable[[], int],
        rng: Random,
        retry_s: float,
    ) -> None:
        self._halts = Halts()
        self._broadcast = broadcast
        self._clock, self._rng, self._retry_s = clock, rng, retry_s
        self._log = ControlLog(bus, self._halts, clock=clock, rng=rng, retry_s=retry_s)

    async def run(self) -> NoReturn:
        """Follow the log, and listen."""
        async with asyncio.TaskGroup() as tasks:
            if self._broadcast:
                told = hear_halts(
                    self._broadcast, self._halts, clock=self._clock, rng=self._rng, retry_s=self._retry_s
                )
                tasks.create_task(told)
            await self._log.follow()

    async def read(self) -> None:
        """Wait until the log has been read to its end; BrokerUnavailable if that takes too long."""
        if not await self._log.catch_up(within_s=_READ_S):
            raise BrokerUnavailable("the log of halts cannot be read; nothing is published before it is")

    def in_force(self) -> Halts | None:
        """The halts; None if what is known is too old to go by."""
        return self._halts if self._log.known() else None

    async def version(self) -> int | None:
        """What `in_force` would answer now, as a number; waits a little for news if what is known is old."""
        await self._log.catch_up(within_s=FRESH_S)
        return self._version()

    def same(self, version: int | None) -> bool:
        """Whether what was rendered since then still holds."""
        return self._version() == version

    def status(self) -> dict[str, Any]:
        """What is in force, and whether that is current."""
        return {"known": self._log.known(), "in_force": len(self._halts.in_force)}

    def _version(self) -> int | None:
        return self._halts.version if self._log.known() else None
