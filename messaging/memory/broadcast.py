"""`Broadcast` in memory, on the market's server: who does not listen, or is cut off, hears nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from messaging.memory.feed import MemoryMarket
from messaging.memory.process import Process
from models.errors import BrokerUnavailable


class MemoryBroadcast:
    """One process's connection."""

    def __init__(self, market: MemoryMarket, process: Process) -> None:
        self._market = market
        self._process = process

    async def tell(self, subject: str, payload: bytes) -> None:
        await self._reach()
        self._market.tell(subject, payload)

    async def hear(self, subject: str) -> AsyncIterator[bytes]:
        await self._reach()
        heard = self._market.listen(subject)
        try:
            while True:
                payload = await heard.get()
                await self._process.turn()
                yield payload
        finally:
            self._market.leave(subject, heard)

    async def close(self) -> None:
        """Nothing to give back."""

    async def _reach(self) -> None:
        await self._process.turn()
        await asyncio.sleep(self._market.faults.delay(self._market.rng))
        if not self._market.up:
            raise BrokerUnavailable("NATS is not connected; what is told now would be heard by nobody")
