"""A control plane that may be killed at any moment: shipped changes, announcer and duties, without HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from deployments.control.announcer import Announcer
from deployments.control.changes import Changes
from deployments.control.tenants import desk as tenants
from deployments.control.tenants.duties import Duties
from deployments.control.tenants.tenant_duties import TenantDuties
from messaging.memory import MemoryBroadcast, MemoryBus, MemoryLog, MemoryMarket, Process
from models.tenant import Kind
from storage.postgres.config import PostgresConfig
from storage.postgres.database import Database
from tests.support.sockets import close_sockets


class Clock:
    """Wall time that a test starts where it likes and moves on; it stands still by itself."""

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns

    def move(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)


@dataclass
class Life:
    """One process of a control plane, from its start to its death."""

    changes: Changes
    duties: Duties
    process: Process
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)

    def begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Something that dies with the process."""
        task = asyncio.create_task(work)
        self.tasks.append(task)
        return task


@dataclass
class Place:
    """What outlives a process: database, log, NATS, time."""

    postgres: PostgresConfig
    log: MemoryLog
    market: MemoryMarket
    clock: Callable[[], int]

    @asynccontextmanager
    async def life(self, name: str) -> AsyncIterator[Life]:
        """A process, killed at the end of the block: whatever it was doing stops where it is."""
        process, rng = Process(name), Random(name)
        bus, database = MemoryBus(self.log, name, process=process), Database(self.postgres)
        duties_of = TenantDuties(bus, MemoryBroadcast(self.market, process), clock=self.clock)
        duties = Duties(database, duties_of, clock=self.clock, rng=rng)
        announcer = Announcer(database, bus, {Kind.TENANT: tenants.render}, rng=rng)
        life = Life(Changes(database, announcer, self.clock, doer=duties), duties, process)
        life.begin(duties.run())
        life.begin(announcer.run())
        try:
            yield life
        finally:
            process.crash()
            for task in life.tasks:
                task.cancel()
            await asyncio.gather(*life.tasks, return_exceptions=True)
            for beside in (duties, announcer):
                await beside.close()
            await database.close()
            life.tasks.clear()
            close_sockets()
