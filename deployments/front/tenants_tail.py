"""A process's own copy of `hub.tenants`, kept up to date closely: a suspension holds within a second.

The control plane is never asked. While it, or the broker, is away the copy goes on serving and grows older.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from random import Random
from typing import Final, NoReturn

from deployments.front.tenants_fold import TenantsFold
from messaging.ports import EventBus
from messaging.topics import TENANTS
from models.errors import MessagingError

_LOG: Final = logging.getLogger("ray.serve")
_WAIT_S: Final = 0.2
_RETRY_S: Final = 0.5
_LATE_MS: Final = 100


class TenantsTail:
    """Follows the log from its first record. Run `run` as a task; read `fold` at any time."""

    def __init__(self, bus: EventBus, *, clock: Callable[[], int], rng: Random) -> None:
        self._bus = bus
        self._clock = clock
        self._rng = rng
        self._position: int | None = None
        self._heard_ns: int | None = None
        self.fold = TenantsFold()
        self.complete = asyncio.Event()
        self._news = asyncio.Event()

    @property
    def age_s(self) -> float:
        """Seconds since the broker last answered a read; infinite before the first."""
        return float("inf") if self._heard_ns is None else (self._clock() - self._heard_ns) / 1e9

    async def reads_on(self, within_s: float) -> bool:
        """Wait until the copy has taken more records; False if it takes none for so long."""
        try:
            async with asyncio.timeout(within_s):
                return await self._news.wait()
        except TimeoutError:
            return False

    async def run(self) -> NoReturn:
        """Follow until cancelled, through every outage of the broker."""
        while True:
            try:
                await self._follow()
            except MessagingError as error:
                _LOG.warning("the copy of hub.tenants is %.0f s old: %s", self.age_s, error.message)
                await asyncio.sleep(_RETRY_S * (0.5 + self._rng.random()))

    async def _follow(self) -> NoReturn:
        first, end = await self._bus.bounds(TENANTS.name, 0)
        start = first if self._position is None else self._position
        tail = await self._bus.tail(TENANTS.name, {0: start}, late_ms=_LATE_MS)
        try:
            while True:
                records = await tail.batch(max_wait_s=_WAIT_S)
                news = self.fold.take_all(records)
                self._position, self._heard_ns = tail.position(0), self._clock()
                if self._position >= end:
                    self.complete.set()
                if news:
                    self._tell()
        finally:
            await tail.close()

    def _tell(self) -> None:
        """Wake all who wait now, and nobody who comes later."""
        self._news.set()
        self._news = asyncio.Event()
