"""What others must be told: marked with the change itself, unmarked when they have been.

Records of the log `hub.tenants` and duties lie in one table, told apart by their kind.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

import orjson
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from models.tenant import Duty, Kind, tenants_key
from storage.postgres.tables.people import ANNOUNCEMENTS as A

_AGAIN: Final = "again"


class Mark(NamedTuple):
    """A key whose record in the log may be older than the database."""

    key: bytes
    tenant_id: str


class Owed(NamedTuple):
    """A duty that waits. `marked_ns` tells one that was marked anew; `again`: it has been done, and is to be
    done once more.
    """

    key: bytes
    tenant_id: str
    duty: Duty
    marked_ns: int
    again: bool = False


async def mark(connection: AsyncConnection, tenant_id: str, kind: Kind, *ids: str, now_ns: int) -> Mark:
    """The record of this key must be told anew; holds if the transaction does."""
    one = Mark(tenants_key(kind, *ids), tenant_id)
    await _put(connection, one, kind, now_ns=now_ns, due_ns=now_ns)
    return one


async def owe(
    connection: AsyncConnection, tenant_id: str, duty: Duty, *, now_ns: int, due_ns: int | None = None
) -> Owed:
    """The duty must be done; with `due_ns` once more, at that time. Holds if the transaction does."""
    again = due_ns is not None
    key = orjson.dumps([duty, tenant_id, *([_AGAIN] if again else [])])
    marked_ns = await _put(connection, Mark(key, tenant_id), duty, now_ns=now_ns, due_ns=due_ns or now_ns)
    return Owed(key, tenant_id, duty, marked_ns, again)


async def marked(connection: AsyncConnection, *, most: int) -> Sequence[Mark]:
    """Records that wait, the oldest first."""
    waiting = select(A.c.key, A.c.tenant_id).where(A.c.kind.in_(Kind)).order_by(A.c.marked_ns).limit(most)
    return [Mark(key.encode(), tenant_id) for key, tenant_id in await connection.execute(waiting)]


async def owed(
    connection: AsyncConnection, *, now_ns: int, most: int, besides: Collection[bytes] = ()
) -> Sequence[Owed]:
    """Duties that are due, the longest due first, without those of these keys."""
    others = [key.decode() for key in besides]
    waiting = select(A.c.key, A.c.tenant_id, A.c.kind, A.c.marked_ns).where(
        A.c.kind.in_(Duty), A.c.due_ns <= now_ns, A.c.key.not_in(others)
    )
    rows = await connection.execute(waiting.order_by(A.c.due_ns).limit(most))
    return [
        Owed(key.encode(), tenant_id, Duty(kind), marked_ns, len(orjson.loads(key)) > 2)
        for key, tenant_id, kind, marked_ns in rows
    ]


async def take(connection: AsyncConnection, key: bytes) -> bool:
    """Unmark a key; nobody else tells it until the transaction ends. False if it is not marked."""
    gone = delete(A).where(A.c.key == key.decode()).returning(A.c.key)
    return (await connection.execute(gone)).first() is not None


async def turn(connection: AsyncConnection, one: Owed) -> Owed | None:
    """Wait until nobody else does this duty of the tenant; nobody does until the transaction ends. The duty
    as it is marked now, None if it has been done meanwhile.

    It is not the row that is locked, so that a change which owes the duty anew does not wait for Kafka.
    """
    words = f"{one.duty}:{one.tenant_id}"
    await connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(words, 0))))
    now = select(A.c.marked_ns).where(A.c.key == one.key.decode())
    marked_ns = (await connection.execute(now)).scalar_one_or_none()
    return None if marked_ns is None else one._replace(marked_ns=marked_ns)


async def settle(connection: AsyncConnection, one: Owed) -> None:
    """Unmark a duty that was done, unless it was marked anew since `one` was read."""
    await connection.execute(delete(A).where(A.c.key == one.key.decode(), A.c.marked_ns == one.marked_ns))


async def _put(
    connection: AsyncConnection, what: Mark, kind: Kind | Duty, *, now_ns: int, due_ns: int
) -> int:
    """The time it is marked with: never one that it had, also where two clocks agree."""
    row = {"key": what.key.decode(), "kind": kind.value, "tenant_id": what.tenant_id}
    statement = insert(A).values(row | {"marked_ns": now_ns, "due_ns": due_ns})
    anew = {"marked_ns": func.greatest(A.c.marked_ns + 1, now_ns), "due_ns": due_ns}
    again = statement.on_conflict_do_update(index_elements=[A.c.key], set_=anew).returning(A.c.marked_ns)
    return int((await connection.execute(again)).scalar_one())
