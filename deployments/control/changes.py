"""The one way to change anything: rows, audit entry and what the log must be told, in one transaction.

After the commit the log is told at once, and what is owed outside the database is done. Should that fail, the
mark stays, and the announcer and the duties come back to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from models.audit import AuditEntry, Outcome
from models.tenant import Duty, Kind
from storage.postgres import audit, tenants
from storage.postgres.announcements import Mark, Owed, mark, owe
from storage.postgres.database import Database


class Teller(Protocol):
    """Tells the log what was marked: `deployments.control.announcer.Announcer`."""

    async def tell(self, marks: list[Mark]) -> None: ...


class Doer(Protocol):
    """Does what is owed: `deployments.control.tenants.duties.Duties`."""

    async def do(self, owed: list[Owed]) -> None: ...


class Change:
    """A transaction on one tenant, for one actor, at one moment."""

    def __init__(self, connection: AsyncConnection, tenant_id: str, *, actor: str, now_ns: int) -> None:
        self.connection = connection
        self.tenant_id = tenant_id
        self.actor = actor
        self.now_ns = now_ns
        self.marks: list[Mark] = []
        self.owed: list[Owed] = []
        self._entries: list[AuditEntry] = []

    async def note(self, action: str, what: str, *, outcome: Outcome = Outcome.DONE, **details: Any) -> None:
        """Have the audit entry of what was done written with the change, as the last thing before its commit:
        until then other changes of the tenant need not wait.
        """
        self._entries.append(
            AuditEntry(
                actor=self.actor,
                action=action,
                object=what,
                outcome=outcome,
                at_ns=self.now_ns,
                details=details,
            )
        )

    async def write_down(self) -> None:
        """Write the entries; whoever began the change does it at its end."""
        for entry in self._entries:
            await audit.append(self.connection, self.tenant_id, entry)

    async def announce(self, kind: Kind, *ids: str) -> None:
        """The record of this key is told anew once the change is committed."""
        self.marks.append(await mark(self.connection, self.tenant_id, kind, *ids, now_ns=self.now_ns))

    async def owe(self, duty: Duty, tenant_id: str) -> None:
        """The duty is done once the change is committed, from what the database says then."""
        self.owed.append(await owe(self.connection, tenant_id, duty, now_ns=self.now_ns))


class Changes:
    """Begins changes; `clock` is wall time in nanoseconds."""

    def __init__(self, database: Database, teller: Teller, clock: Callable[[], int], *, doer: Doer) -> None:
        self._database = database
        self._teller = teller
        self._clock = clock
        self._doer = doer

    @asynccontextmanager
    async def of(self, tenant_id: str, *, actor: str, new: bool = False) -> AsyncIterator[Change]:
        """A change of one tenant. An error undoes all of it; else it is committed, the log is told, and
        what is owed is done. NotFound for a tenant that is not there, unless it is `new`, or is deleted.
        """
        async with self._database.tenant(tenant_id) as connection:
            if not new:
                await tenants.hold(connection, tenant_id)
            change = Change(connection, tenant_id, actor=actor, now_ns=self._clock())
            yield change
            await change.write_down()
        await asyncio.gather(self._doer.do(change.owed), self._teller.tell(change.marks))
