"""Login sessions: listed and ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from deployments.control.acting import Acting, absent
from deployments.control.changes import Change, Changes
from models.access import Permission
from models.credentials import LoginSession
from models.tenant import EndedSession, Kind
from storage.postgres import sessions
from storage.postgres.database import Database

TOLD_NS: Final = 1800 * 10**9
"""So long everybody is told that a session has ended: longer than any access token of it lives."""


class SessionDesk:
    """What the routes of sessions call. `clock` is wall time in nanoseconds."""

    def __init__(self, database: Database, changes: Changes, clock: Callable[[], int]) -> None:
        self._database = database
        self._changes = changes
        self._clock = clock

    async def page(self, on: Acting, *, user_id: str | None, after: str, most: int) -> Sequence[LoginSession]:
        """Sessions that go on: one's own, or with the permission those of one user or of all."""
        whose = user_id if on.may(Permission.SESSIONS_ALL) else on.caller.user_id
        async with self._database.tenant(on.tenant_id) as connection:
            return await sessions.page(
                connection, user_id=whose, now_ns=self._clock(), after=after, most=most
            )

    async def end(self, on: Acting, session_id: str) -> None:
        """End a session; its access tokens are refused everywhere within a second. NotFound for one that is
        not there, has ended, or is somebody else's.
        """
        async with self._changes.of(on.tenant_id, actor=on.caller.user_id) as change:
            found = await sessions.find(change.connection, session_id)
            if found is None or not (_own(on, found) or on.may(Permission.SESSIONS_ALL)):
                raise absent()
            if not await sessions.end(change.connection, session_id, now_ns=change.now_ns, because="revoked"):
                raise absent()
            await tell_ended(change, [session_id])
            await change.note("sessions.end", session_id, user=found.user_id)


async def tell_ended(change: Change, session_ids: Iterable[str]) -> None:
    """Tell everybody of sessions that this change has ended."""
    for session_id in session_ids:
        await change.announce(Kind.SESSION, session_id)


async def render(connection: AsyncConnection, ids: Sequence[str]) -> EndedSession | None:
    """What the log says of a session: nothing, unless it has ended."""
    found = await sessions.find(connection, ids[0])
    if found is None or found.ended_ns is None:
        return None
    return EndedSession(session_id=found.session_id, until_ns=found.ended_ns + TOLD_NS)


def _own(on: Acting, session: LoginSession) -> bool:
    return session.user_id == on.caller.user_id and session.tenant_id == on.caller.tenant_id
