"""Keeps a key to sign with, and forgets what counts no more: keys, sessions, failed logins."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from random import Random
from typing import Final, NoReturn

from sqlalchemy.ext.asyncio import AsyncConnection

from deployments.control.announcer import Announcer
from deployments.control.auth.sessions import TOLD_NS
from deployments.control.signing.signing import SigningKeys
from models.errors import HubError
from models.tenant import Kind
from storage.postgres import api_keys, login_failures, sessions
from storage.postgres.announcements import Mark, mark
from storage.postgres.database import Database

_LOG: Final = logging.getLogger("ray.serve")
_EVERY_S: Final = 20.0
_RETRY_S: Final = 1.0
_DAY_NS: Final = 86_400 * 10**9
_KEPT_NS: Final = 90 * _DAY_NS


class Tidying:
    """Run `run` as a task. `clock` is wall time in nanoseconds."""

    def __init__(
        self,
        database: Database,
        announcer: Announcer,
        keys: SigningKeys,
        *,
        clock: Callable[[], int],
        rng: Random,
    ) -> None:
        self._database = database
        self._announcer = announcer
        self._keys = keys
        self._clock = clock
        self._rng = rng

    async def run(self) -> NoReturn:
        """A key first, then about three times a minute all of it, through every outage."""
        while True:
            wait_s = _EVERY_S
            try:
                await self.once()
            except HubError as error:
                _LOG.warning("keys and sessions are not tidied: %s", error.message)
                wait_s = _RETRY_S
            await asyncio.sleep(wait_s * (0.5 + self._rng.random()))

    async def close(self) -> None:
        """Nothing is held between two rounds."""

    async def once(self) -> None:
        """All of it."""
        await self._keys.keep_one()
        await self._keys.tidy()
        await self._forget_sessions()
        await self._forget_keys()
        now_ns = self._clock()
        async with self._database.platform() as connection:
            await login_failures.forget(
                connection, before_ns=now_ns - _DAY_NS, good_before_ns=now_ns - _KEPT_NS
            )

    async def _forget_sessions(self) -> None:
        before_ns = self._clock() - TOLD_NS
        async with self._database.platform() as connection:
            tenants = await sessions.tenants_with_stale(connection, before_ns=before_ns)
        for tenant_id in tenants:
            async with self._database.tenant(tenant_id) as connection:
                gone = await sessions.forget_stale(connection, before_ns=before_ns)
                marks = [await self._marked(connection, tenant_id, Kind.SESSION, one) for one in gone]
            await self._announcer.tell(marks)

    async def _forget_keys(self) -> None:
        before_ns = self._clock() - _DAY_NS
        async with self._database.platform() as connection:
            tenants = await api_keys.tenants_with_stale(connection, before_ns=before_ns)
        for tenant_id in tenants:
            async with self._database.tenant(tenant_id) as connection:
                gone = await api_keys.forget_stale(connection, before_ns=before_ns)
                marks = [await self._marked(connection, tenant_id, Kind.API_KEY, one) for one in gone]
            await self._announcer.tell(marks)

    async def _marked(self, connection: AsyncConnection, tenant_id: str, kind: Kind, one: str) -> Mark:
        return await mark(connection, tenant_id, kind, one, now_ns=self._clock())
