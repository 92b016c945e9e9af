"""How often somebody failed to log in: by tenant, login and source, and over all sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.postgres.tables.people import LOGIN_FAILURES as F


class Tally(NamedTuple):
    """Failures in a row, until when nothing is tried, when it was tried last, and when it went well last."""

    failures: int = 0
    blocked_until_ns: int = 0
    last_ns: int = 0
    succeeded_ns: int | None = None


async def locked(
    connection: AsyncConnection, tenant_id: str, login: str, sources: Sequence[str], *, now_ns: int
) -> Mapping[str, Tally]:
    """The tally of each source. Nobody else reads them so until the transaction ends: of a hundred attempts
    at once each is counted before the next is judged.
    """
    fresh = [
        {"tenant_id": tenant_id, "login": login, "source": source, **Tally(last_ns=now_ns)._asdict()}
        for source in sorted(sources)  # one order for all, so that none waits for another in a circle
    ]
    await connection.execute(insert(F).values(fresh).on_conflict_do_nothing())
    statement = (
        select(F.c.source, F.c.failures, F.c.blocked_until_ns, F.c.last_ns, F.c.succeeded_ns)
        .where(F.c.login == login, F.c.source.in_(sources))
        .order_by(F.c.source)
        .with_for_update()
    )
    found = {source: Tally(*rest) for source, *rest in await connection.execute(statement)}
    return {source: found.get(source, Tally()) for source in sources}  # one may just have been forgotten


async def put(connection: AsyncConnection, tenant_id: str, login: str, tallies: Mapping[str, Tally]) -> None:
    """Write what the tallies are now."""
    rows = [
        {"tenant_id": tenant_id, "login": login, "source": source, **tally._asdict()}
        for source, tally in sorted(tallies.items())
    ]
    statement = insert(F).values(rows)
    changed = {name: statement.excluded[name] for name in Tally._fields}
    keys = [F.c.tenant_id, F.c.login, F.c.source]
    await connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed))


async def forget(connection: AsyncConnection, *, before_ns: int, good_before_ns: int) -> int:
    """Delete what was tried last before this moment, but what once went well only before the other; asked by
    the platform. How many. What an attempt holds is passed over: who waited for it while holding another
    tally could wait in a circle.
    """
    keys = (F.c.tenant_id, F.c.login, F.c.source)
    last = func.coalesce(F.c.succeeded_ns, 0)
    stale = select(*keys).where(F.c.last_ns < before_ns, last < good_before_ns)
    free = stale.with_for_update(skip_locked=True)
    return (await connection.execute(delete(F).where(tuple_(*keys).in_(free)))).rowcount
