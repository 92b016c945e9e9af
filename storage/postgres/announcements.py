"""What the log `hub.tenants` must be told: marked with the change itself, unmarked when the log has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from models.tenant import Kind, tenants_key
from storage.postgres.tables.people import ANNOUNCEMENTS as A


class Mark(NamedTuple):
    """A key whose record in the log may be older than the database."""

    key: bytes
    tenant_id: str


async def mark(connection: AsyncConnection, tenant_id: str, kind: Kind, *ids: str, now_ns: int) -> Mark:
    """The record of this key must be told anew; holds if the transaction does."""
    key = tenants_key(kind, *ids)
    row = {"key": key.decode(), "tenant_id": tenant_id, "marked_ns": now_ns}
    statement = insert(A).values(row)
    again = statement.on_conflict_do_update(index_elements=[A.c.key], set_={"marked_ns": now_ns})
    await connection.execute(again)
    return Mark(key, tenant_id)


async def marked(connection: AsyncConnection, *, most: int) -> Sequence[Mark]:
    """Those that wait, the oldest first."""
    rows = await connection.execute(select(A.c.key, A.c.tenant_id).order_by(A.c.marked_ns).limit(most))
    return [Mark(key.encode(), tenant_id) for key, tenant_id in rows]


async def take(connection: AsyncConnection, key: bytes) -> bool:
    """Unmark a key; nobody else tells it until the transaction ends. False if it is not marked."""
    gone = delete(A).where(A.c.key == key.decode()).returning(A.c.key)
    return (await connection.execute(gone)).first() is not None
