"""The rows of login sessions: each is a family of refresh tokens, of which only the newest counts."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, RowMapping, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from models.credentials import LoginSession
from storage.postgres.tables.people import SESSIONS as S

_SHOWN = [column for column in S.c if column.name != "secret_sha256"]


async def add(connection: AsyncConnection, session: LoginSession, *, secret_sha256: bytes) -> None:
    """Write a new session."""
    await connection.execute(insert(S).values(session.model_dump() | {"secret_sha256": secret_sha256}))


async def advance(
    connection: AsyncConnection,
    session_id: str,
    *,
    generation: int,
    secret_sha256: bytes,
    following_sha256: bytes,
    now_ns: int,
) -> LoginSession | None:
    """Compare and swap: the next generation, if the session goes on and this is its newest token; else None.
    Of any number at once, one gets the session.
    """
    statement = (
        update(S)
        .where(
            S.c.session_id == session_id,
            S.c.generation == generation,
            S.c.secret_sha256 == secret_sha256,
            _goes_on(now_ns),
        )
        .values(generation=S.c.generation + 1, secret_sha256=following_sha256, refreshed_ns=now_ns)
        .returning(*_SHOWN)
    )
    return _session((await connection.execute(statement)).mappings().first())


async def holds(
    connection: AsyncConnection, session_id: str, *, generation: int, secret_sha256: bytes
) -> bool:
    """Whether this is the session's newest token."""
    newest = select(S.c.session_id).where(
        S.c.session_id == session_id, S.c.generation == generation, S.c.secret_sha256 == secret_sha256
    )
    return (await connection.execute(newest)).first() is not None


async def find(connection: AsyncConnection, session_id: str) -> LoginSession | None:
    """The session, whether it goes on or not."""
    statement = select(*_SHOWN).where(S.c.session_id == session_id)
    return _session((await connection.execute(statement)).mappings().first())


async def page(
    connection: AsyncConnection, *, user_id: str | None, now_ns: int, after: str, most: int
) -> Sequence[LoginSession]:
    """Sessions that go on, of one user or of all, by id from behind `after`."""
    conditions = [_goes_on(now_ns), S.c.session_id > after]
    if user_id is not None:
        conditions.append(S.c.user_id == user_id)
    statement = select(*_SHOWN).where(*conditions).order_by(S.c.session_id).limit(most)
    rows = (await connection.execute(statement)).mappings()
    return [LoginSession.model_validate(dict(row)) for row in rows]


async def end(connection: AsyncConnection, session_id: str, *, now_ns: int, because: str) -> bool:
    """End one session; False if it has ended already, or is not there."""
    return bool(await _end(connection, S.c.session_id == session_id, now_ns=now_ns, because=because))


async def end_all(
    connection: AsyncConnection, user_id: str, *, but: str | None, now_ns: int, because: str
) -> Sequence[str]:
    """End the sessions of a user, all but one; the ids of those that went on until now."""
    which = (S.c.user_id == user_id) & (S.c.session_id != (but or ""))
    return await _end(connection, which, now_ns=now_ns, because=because)


async def end_oldest(
    connection: AsyncConnection, user_id: str, *, kept: int, now_ns: int, because: str
) -> Sequence[str]:
    """End what a user has beyond so many sessions, those first that were not refreshed for longest."""
    newest = (
        select(S.c.session_id)
        .where(S.c.user_id == user_id, _goes_on(now_ns))
        .order_by(S.c.refreshed_ns.desc(), S.c.session_id)
        .offset(kept)
    )
    return await _end(connection, S.c.session_id.in_(newest), now_ns=now_ns, because=because)


async def tenants_with_stale(connection: AsyncConnection, *, before_ns: int) -> Sequence[str]:
    """Whose sessions ended or ran out before this moment; asked by the platform."""
    statement = select(S.c.tenant_id).where(_stale(before_ns)).distinct()
    return list((await connection.execute(statement)).scalars())


async def forget_stale(connection: AsyncConnection, *, before_ns: int) -> Sequence[str]:
    """Delete the tenant's sessions that ended or ran out before this moment; their ids."""
    statement = delete(S).where(_stale(before_ns)).returning(S.c.session_id)
    return list((await connection.execute(statement)).scalars())


async def _end(
    connection: AsyncConnection, which: ColumnElement[bool], *, now_ns: int, because: str
) -> Sequence[str]:
    statement = (
        update(S)
        .where(which, S.c.ended_ns.is_(None))
        .values(ended_ns=now_ns, ended_because=because)
        .returning(S.c.session_id)
    )
    return list((await connection.execute(statement)).scalars())


def _goes_on(now_ns: int) -> ColumnElement[bool]:
    return S.c.ended_ns.is_(None) & (S.c.expires_ns > now_ns)


def _stale(before_ns: int) -> ColumnElement[bool]:
    return (S.c.ended_ns < before_ns) | (S.c.expires_ns < before_ns)


def _session(row: RowMapping | None) -> LoginSession | None:
    return LoginSession.model_validate(dict(row)) if row else None
