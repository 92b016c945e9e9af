"""The rows of invitations."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from models.errors import NotFound
from models.people import Invitation
from storage.postgres.tables.people import INVITATIONS as I


async def add(connection: AsyncConnection, invitation: Invitation, *, secret_sha256: bytes) -> None:
    """Write a new invitation, and end those that are still open for the same login."""
    stale = delete(I).where(I.c.login == invitation.login, I.c.accepted_ns.is_(None))
    await connection.execute(stale)
    await connection.execute(insert(I).values(invitation.model_dump() | {"secret_sha256": secret_sha256}))


async def accept(
    connection: AsyncConnection, invitation_id: str, *, secret_sha256: bytes, now_ns: int
) -> Invitation | None:
    """Take an invitation once; None if it is not there, was taken, has ended, or the secret is another."""
    statement = (
        update(I)
        .where(
            I.c.invitation_id == invitation_id,
            I.c.secret_sha256 == secret_sha256,
            I.c.accepted_ns.is_(None),
            I.c.expires_ns > now_ns,
        )
        .values(accepted_ns=now_ns)
        .returning(*(column for column in I.c if column.name != "secret_sha256"))
    )
    row = (await connection.execute(statement)).mappings().first()
    return Invitation.model_validate(dict(row)) if row else None


async def waiting(connection: AsyncConnection, *, now_ns: int) -> Sequence[Invitation]:
    """Those that can still be accepted, the newest first."""
    columns = [column for column in I.c if column.name != "secret_sha256"]
    statement = (
        select(*columns)
        .where(I.c.accepted_ns.is_(None), I.c.expires_ns > now_ns)
        .order_by(I.c.created_ns.desc())
    )
    return [Invitation.model_validate(dict(row)) for row in (await connection.execute(statement)).mappings()]


async def withdraw(connection: AsyncConnection, invitation_id: str) -> None:
    """Delete an invitation that nobody accepted; NotFound for none."""
    statement = delete(I).where(I.c.invitation_id == invitation_id, I.c.accepted_ns.is_(None))
    if (await connection.execute(statement)).rowcount == 0:
        raise NotFound("there is nothing of that name for you")
