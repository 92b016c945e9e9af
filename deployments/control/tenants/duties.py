"""What is done outside the database after a change of a tenant: at least once, from what the database says.

A duty is marked in the transaction of the change and unmarked when it is done; a sweep does what somebody who
died has left. Ten seconds later each is done once more, for what was on its way in the first moment: a
subscription of a gateway whose copy of the tenant was older, an append of a control plane that died.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from random import Random
from typing import Final, NoReturn

from deployments.control.tenants.tenant_duties import TenantDuties
from models.errors import HubError
from models.tenant import Duty
from storage.postgres import tenants
from storage.postgres.announcements import Owed, owe, owed, settle, turn
from storage.postgres.database import Database

_LOG: Final = logging.getLogger("ray.serve")
AGAIN_NS: Final = 10 * 10**9
_SWEEP_S: Final = 0.5
_MOST: Final = 100
_AT_ONCE: Final = 2
"""Of each kind: a duty that waits for Kafka keeps a connection to the database."""
_WAIT_S: Final = 3.0


class Duties:
    """`do` after a change, `run` as a task for everything that is not awaited and for what was left.

    Two control planes take turns at a duty of a tenant, by a lock in the database that ends with the one that
    dies. `clock` is wall time in nanoseconds.
    """

    def __init__(
        self, database: Database, tasks: TenantDuties, *, clock: Callable[[], int], rng: Random
    ) -> None:
        self._database = database
        self._tasks = tasks
        self._clock = clock
        self._rng = rng
        self._places = {duty: asyncio.Semaphore(_AT_ONCE) for duty in Duty}
        self._wake = asyncio.Event()
        self._halting: set[asyncio.Task[None]] = set()
        self._under_way: list[bytes] = []

    async def do(self, owed: Sequence[Owed]) -> None:
        """Do what is owed. Halts are waited for, three seconds at the most; all else follows at once."""
        if not owed:
            return
        self._wake.set()
        halts = [self._start_halt(one) for one in owed if one.duty is Duty.HALT]
        if halts:
            done, _ = await asyncio.wait(halts, timeout=_WAIT_S)
            for task in done:
                task.result()

    async def run(self) -> NoReturn:
        """Do what is due, about twice a second and whenever `do` says so, through every outage."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._guard())
            while True:
                self._wake.clear()
                for one in await self._due():
                    self._under_way.append(one.key)
                    group.create_task(self._attempt(one))
                await self._rest()

    async def close(self) -> None:
        """Give up what is under way; it stays marked."""
        for task in self._halting:
            task.cancel()
        await asyncio.gather(*self._halting, return_exceptions=True)
        await self._tasks.close()

    def _start_halt(self, one: Owed) -> asyncio.Task[None]:
        self._under_way.append(one.key)
        task = asyncio.create_task(self._attempt(one))
        self._halting.add(task)
        task.add_done_callback(self._halting.discard)
        return task

    async def _due(self) -> Sequence[Owed]:
        try:
            async with self._database.platform() as connection:
                return await owed(
                    connection, now_ns=self._clock(), most=_MOST, besides=frozenset(self._under_way)
                )
        except HubError as error:
            _LOG.warning("what is owed to tenants is not known: %s", error.message)
            return ()

    async def _guard(self) -> NoReturn:
        """A suspended tenant whose halt somebody has lifted is halted again."""
        while True:
            await asyncio.sleep(self._pause_s())
            with contextlib.suppress(HubError):
                await self._owe_missing_halts()

    async def _owe_missing_halts(self) -> None:
        async with self._database.platform() as connection:
            suspended = await tenants.suspended(connection)
        for tenant_id in await self._tasks.not_halted(suspended):
            async with self._database.tenant(tenant_id) as connection:
                await owe(connection, tenant_id, Duty.HALT, now_ns=self._clock())
            self._wake.set()

    async def _rest(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pause_s()):
                await self._wake.wait()

    def _pause_s(self) -> float:
        return _SWEEP_S * (0.5 + self._rng.random())

    async def _attempt(self, one: Owed) -> None:
        try:
            async with self._places[one.duty]:
                await self._perform(one)
        except* HubError as failed:
            _LOG.warning("%s of %s waits: %r", one.duty, one.tenant_id, failed.exceptions)
        finally:
            self._under_way.remove(one.key)

    async def _perform(self, one: Owed) -> None:
        async with self._database.tenant(one.tenant_id) as connection:
            now = await turn(connection, one)
            if now is None:
                return
            await self._tasks.do(connection, now)
            await settle(connection, now)
            if not now.again:
                again_ns = self._clock() + AGAIN_NS
                await owe(connection, now.tenant_id, now.duty, now_ns=self._clock(), due_ns=again_ns)
