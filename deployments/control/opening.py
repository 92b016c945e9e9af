"""Opens a replica of the control plane: checks the database, connects, and starts what runs beside."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from random import SystemRandom

from deployments.control.assembly import Assembled, Wires, assemble
from deployments.control.config import ControlConfig
from deployments.control.services import ControlServices
from deployments.router.late_meter import LateMeter
from deployments.router.meter import RayMeter
from messaging.connect import make_broadcast, open_bus
from models.metrics import Meter
from storage.postgres.boundary import check_boundary
from storage.postgres.database import Database
from storage.redis_store import RedisFastStore


class OpenControl:
    """The services of one replica, the tasks beside them, and how all of it is closed again."""

    def __init__(self, assembled: Assembled, stack: AsyncExitStack) -> None:
        self._assembled = assembled
        self._stack = stack
        self._tasks = [
            asyncio.create_task(assembled.announcer.run()),
            asyncio.create_task(assembled.tail.run()),
            *(asyncio.create_task(one.run()) for one in assembled.beside),
        ]

    @property
    def services(self) -> ControlServices:
        return self._assembled.services

    def check(self) -> None:
        """Raises what ended one of the tasks for good."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def close(self) -> None:
        """Stop the tasks, then close the connections, the last opened first."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._assembled.announcer.close()
        await self.services.resources.close()
        for one in self._assembled.beside:
            await one.close()
        await self._stack.aclose()


async def open_control(config: ControlConfig, *, name: str) -> OpenControl:
    """Connect and start. ConfigError for a weak secret, an old schema or an open boundary; DatabaseAway,
    BrokerUnavailable.
    """
    meter = LateMeter(RayMeter())
    async with AsyncExitStack() as stack:
        stack.callback(meter.flush)
        wires = await _connect(config, stack, name=name, meter=meter)
        assembled = assemble(config, wires)
        await assembled.founding.run()
        return OpenControl(assembled, stack.pop_all())


async def _connect(config: ControlConfig, stack: AsyncExitStack, *, name: str, meter: Meter) -> Wires:
    await check_boundary(config.postgres)
    store = RedisFastStore(config.redis)
    stack.push_async_callback(store.close)
    database = Database(config.postgres, store=store)
    stack.push_async_callback(database.close)
    bus = await open_bus(config.kafka, client_id=f"control-{name}", meter=meter)
    stack.push_async_callback(bus.close)
    broadcast = make_broadcast(config.nats, name=f"control-{name}", meter=meter)
    stack.push_async_callback(broadcast.close)
    return Wires(
        database=database,
        bus=bus,
        broadcast=broadcast,
        store=store,
        meter=meter,
        clock=time.time_ns,
        monotonic=time.monotonic,
        rng=SystemRandom(),
    )
