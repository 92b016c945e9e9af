"""The one way to change anything: rows, audit entry and what the log must be told, in one transaction.

After the commit the log is told at once. Should that fail, the mark stays, and the announcer tells it later.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from models.audit import AuditEntry, Outcome
from models.tenant import Kind
from storage.postgres import audit
from storage.postgres.announcements import Mark, mark
from storage.postgres.database import Database


class Teller(Protocol):
    """Tells the log what was marked: `deployments.control.announcer.Announcer`."""

    async def tell(self, marks: list[Mark]) -> None: ...


class Change:
    """A transaction on one tenant, for one actor, at one moment."""

    def __init__(self, connection: AsyncConnection, tenant_id: str, *, actor: str, now_ns: int) -> None:
        self.connection = connection
        self.tenant_id = tenant_id
        self.actor = actor
        self.now_ns = now_ns
        self.marks: list[Mark] = []

    async def note(self, action: str, what: str, *, outcome: Outcome = Outcome.DONE, **details: Any) -> None:
        """Write the audit entry of what was done."""
        entry = AuditEntry(
            actor=self.actor, action=action, object=what, outcome=outcome, at_ns=self.now_ns, details=details
        )
        await audit.append(self.connection, self.tenant_id, entry)

    async def announce(self, kind: Kind, *ids: str) -> None:
        """The record of this key is told anew once the change is committed."""
        self.marks.append(await mark(self.connection, self.tenant_id, kind, *ids, now_ns=self.now_ns))


class Changes:
    """Begins changes; `clock` is wall time in nanoseconds."""

    def __init__(self, database: Database, teller: Teller, clock: Callable[[], int]) -> None:
        self._database = database
        self._teller = teller
        self._clock = clock

    @asynccontextmanager
    async def of(self, tenant_id: str, *, actor: str) -> AsyncIterator[Change]:
        """A change of one tenant. An error undoes all of it; else it is committed, and the log is told."""
        async with self._database.tenant(tenant_id) as connection:
            change = Change(connection, tenant_id, actor=actor, now_ns=self._clock())
            yield change
        await self._teller.tell(change.marks)
