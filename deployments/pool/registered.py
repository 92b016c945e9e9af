"""How a replica comes by models that are registered while it runs: a connection, a catalogue, a shelf."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from random import SystemRandom
from typing import Any, Final, NoReturn

from deployments.pool.config import RegisteredConfig
from deployments.pool.loader import Loader
from deployments.pool.placement import Seat, part_of
from deployments.pool.shelf import Shelf
from deployments.pool.stock import Stock
from deployments.router.catalogue_tail import CatalogueTail
from deployments.router.execution.worker import InferenceWorker
from inference.signature import Verifier
from messaging.connect import open_bus
from models.errors import MessagingError
from models.ids import random_id
from models.metrics import Meter
from storage.artifact_store import ArtifactStore

log = logging.getLogger("ray.serve")

_RETRY_S: Final = 1.0


class Registered:
    """Follows the catalogue in the background; without a configuration it holds nothing and does nothing.
    `seat` is the replica's place in its pool, as it is at the moment. At most `most_waiting` calls wait for a
    load. `shelf` is None before the broker was reached.

    The broker may be away: the replica answers for what it has, and asks again.
    """

    def __init__(
        self,
        config: RegisteredConfig | None,
        worker: InferenceWorker,
        *,
        pool: str,
        seat: Callable[[], Seat],
        most_waiting: int,
        meter: Meter,
    ) -> None:
        self._pool = pool
        self._worker = worker
        self._seat = seat
        self._most_waiting = most_waiting
        self._meter = meter
        self.shelf: Shelf | None = None
        self._following = asyncio.create_task(self._follow(config)) if config else None

    def said(self) -> dict[str, Any]:
        """What is offered now, how fast it is, and what of it has to be loaded first, in plain types."""
        if self.shelf is None:
            return {"models": {}}
        return {"models": self.shelf.profiles(), "cold": self.shelf.cold()}

    def check(self) -> None:
        """Raises what ended it for good."""
        if self._following and self._following.done():
            self._following.result()

    async def close(self) -> None:
        if self._following:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    async def _follow(self, config: RegisteredConfig) -> NoReturn:
        while True:
            try:
                await self._connected(config)
            except MessagingError as error:
                log.warning("models registered at run time are not known yet: %s", error.message)
                await asyncio.sleep(_RETRY_S)

    async def _connected(self, config: RegisteredConfig) -> NoReturn:
        rng = SystemRandom()
        async with AsyncExitStack() as stack:
            bus = await open_bus(config.kafka, client_id=f"pool-{random_id(rng)[:8]}", meter=self._meter)
            stack.push_async_callback(bus.close)
            tail = CatalogueTail(bus, room="pool", clock=time.time_ns, rng=rng, meter=self._meter)
            tailing = asyncio.create_task(tail.run())
            stack.callback(tailing.cancel)
            self.shelf = self._shelf_of(config, tail)
            await self.shelf.run()

    def _shelf_of(self, config: RegisteredConfig, tail: CatalogueTail) -> Shelf:
        return Shelf(
            tail,
            Stock(self._worker, most_bytes=config.most_bytes),
            Loader(ArtifactStore(config.artefacts), Verifier(config.verify_key)),
            pool=self._pool,
            meter=self._meter,
            clock=time.time_ns,
            part=part_of(self._seat, copies=config.copies, most_copies=config.most_copies),
            most_waiting=self._most_waiting,
        )
