"""Tells `hub.tenants` what the database says: at once after a change, and whatever was left over later.

The record is made from the database in the transaction that unmarks it, so the log's last word on a key is
never older than the mark; two control planes take turns at a key by its row.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Final, NoReturn

from sqlalchemy.ext.asyncio import AsyncConnection

from messaging.ports import EventBus, Producer, Record
from messaging.topics import TENANTS
from models.errors import AppendRefused, AppendUnknown, HubError
from models.tenant import Kind, TenantsRecord, tenants_key_parts
from storage.postgres.announcements import Mark, marked, take
from storage.postgres.database import Database

_LOG: Final = logging.getLogger("ray.serve")
_APPEND_S: Final = 5.0
_SWEEP_S: Final = 0.5
_MOST: Final = 500

Render = Callable[[AsyncConnection, Sequence[str]], Awaitable[TenantsRecord | None]]
"""Makes the record of some ids from the platform's transaction; None says that there is none any more."""


class Announcer:
    """`tell` after a change, `run` as a task for what was left; `renders` knows each kind of record."""

    def __init__(
        self, database: Database, bus: EventBus, renders: Mapping[Kind, Render], *, rng: Random
    ) -> None:
        self._database = database
        self._bus = bus
        self._renders = renders
        self._rng = rng
        self._producer: Producer | None = None
        self._turn = asyncio.Lock()

    async def tell(self, marks: Sequence[Mark]) -> None:
        """Tell the log of these keys. What cannot be told now stays marked, and `run` comes back to it."""
        if not marks:
            return
        try:
            async with self._turn:
                await self._tell([mark.key for mark in marks])
        except HubError as error:
            _LOG.warning("%d changes wait for hub.tenants: %s", len(marks), error.message)

    async def run(self) -> NoReturn:
        """Tell what is still marked, about twice a second, through every outage."""
        while True:
            try:
                async with self._database.platform() as connection:
                    waiting = await marked(connection, most=_MOST)
                await self.tell(waiting)
            except HubError as error:
                _LOG.warning("hub.tenants is not told of changes: %s", error.message)
            await asyncio.sleep(_SWEEP_S * (0.5 + self._rng.random()))

    async def close(self) -> None:
        if self._producer:
            await self._producer.close()

    async def _tell(self, keys: Sequence[bytes]) -> None:
        async with self._database.platform() as connection:
            taken = [key for key in sorted(set(keys)) if await take(connection, key)]
            records = [Record(key, await self._value(connection, key)) for key in taken]
            if records:
                await self._append(records)

    async def _value(self, connection: AsyncConnection, key: bytes) -> bytes | None:
        kind, ids = tenants_key_parts(key)
        record = await self._renders[kind](connection, ids)
        return record.model_dump_json(by_alias=True).encode() if record else None

    async def _append(self, records: Sequence[Record]) -> None:
        if self._producer is None:
            self._producer = await self._bus.producer("control-tenants")
        while records:
            fitting = max(1, self._producer.fits(records))
            try:
                await self._producer.append(TENANTS.name, 0, records[:fitting], timeout_s=_APPEND_S)
            except (AppendRefused, AppendUnknown):
                await self._producer.rebuild()
                raise
            records = records[fitting:]
