"""The end of a tenant: everything the hub keeps of it is handed out, and then erased.

What stays is its name, so that it is never given again, its audit log, which says what was done to it, and
what it used, which may not be paid for yet.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

import orjson
from sqlalchemy import Table, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from deployments.control.acting import Acting, absent
from deployments.control.changes import Changes
from models.errors import BadValue, Forbidden
from models.tenant import PLATFORM_TENANT, Duty, Kind, Tenant, TenantStatus
from storage.postgres import tenants
from storage.postgres.database import Database
from storage.postgres.tables.audit import AUDIT_ENTRIES
from storage.postgres.tables.people import API_KEYS, INVITATIONS, LOGIN_FAILURES, SESSIONS, TENANTS, USERS
from storage.postgres.tables.usage import USAGE_ALERTS, USAGE_DAYS

Export = Callable[[str], AsyncIterator[bytes]]
"""JSON lines of one subject of a tenant."""
Erase = Callable[[AsyncConnection, str], Awaitable[object]]
"""Erases one subject of a tenant within its transaction."""

_PEOPLE: Final = (LOGIN_FAILURES, INVITATIONS, API_KEYS, SESSIONS, USERS)
_EXPORTED: Final = (TENANTS, USERS, INVITATIONS, API_KEYS, SESSIONS, USAGE_DAYS, USAGE_ALERTS, AUDIT_ENTRIES)
_SECRET: Final = frozenset({"password_hash", "secret_sha256"})
_ROWS: Final = 1000
_OPTIONS: Final = orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE
"""The names of columns are strings of a kind of their own."""


class Farewell:
    """`exports` and `erasers` are what the other desks keep of a tenant."""

    def __init__(
        self,
        database: Database,
        changes: Changes,
        *,
        exports: Sequence[Export] = (),
        erasers: Sequence[Erase] = (),
    ) -> None:
        self._database = database
        self._changes = changes
        self._exports = exports
        self._erasers = erasers

    async def export(self, tenant_id: str) -> AsyncIterator[bytes]:
        """One JSON object a line, each saying what it is; no password and no secret among them."""
        for table in _EXPORTED:
            async for line in self._rows(tenant_id, table):
                yield line
        for subject in self._exports:
            async for line in subject(tenant_id):
                yield line

    async def delete(self, acting: Acting, *, confirm: str) -> Tenant:
        """Erase the tenant. BadValue unless its name was said once more; the platform's own stays."""
        if acting.tenant_id == PLATFORM_TENANT:
            raise Forbidden(
                "the platform's own tenant is neither suspended nor deleted: nobody could undo it"
            )
        if confirm != acting.tenant_id:
            raise BadValue("say the tenant's name once more to delete it for good", field="confirm")
        async with self._changes.of(acting.tenant_id, actor=acting.caller.user_id, new=True) as change:
            await tenants.hold_alone(change.connection, acting.tenant_id)
            keys = (
                (
                    await change.connection.execute(
                        select(API_KEYS.c.key_id).where(API_KEYS.c.tenant_id == acting.tenant_id)
                    )
                )
                .scalars()
                .all()
            )
            tenant = await tenants.change(
                change.connection, acting.tenant_id, now_ns=change.now_ns, status=TenantStatus.DELETED
            )
            for erase in self._erasers:
                await erase(change.connection, acting.tenant_id)
            for table in _PEOPLE:
                await change.connection.execute(delete(table).where(table.c.tenant_id == acting.tenant_id))
            await change.note("tenants.delete", acting.tenant_id)
            await change.announce(Kind.TENANT, acting.tenant_id)
            for key_id in keys:
                await change.announce(Kind.API_KEY, key_id)
            await change.owe(Duty.FAREWELL, acting.tenant_id)
        return tenant

    async def check(self, tenant_id: str) -> None:
        """NotFound unless there is such a tenant."""
        async with self._database.tenant(tenant_id) as connection:
            if await tenants.find(connection, tenant_id) is None:
                raise absent()

    async def _rows(self, tenant_id: str, table: Table) -> AsyncIterator[bytes]:
        columns = [column for column in table.c if column.name not in _SECRET]
        async with self._database.tenant(tenant_id) as connection:
            rows = await connection.stream(
                select(*columns).where(table.c.tenant_id == tenant_id),
                execution_options={"yield_per": _ROWS},
            )
            async for row in rows.mappings():
                yield line(table.name, dict(row))


def line(what: str, row: dict[str, Any]) -> bytes:
    """One line of an export."""
    return orjson.dumps({"what": what, **row}, default=_text, option=_OPTIONS)


def _text(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
