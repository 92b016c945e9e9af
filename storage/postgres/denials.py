"""Denials of the data plane on their way into the audit: which reports are there, and where to read on."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from models.audit import DenialReport
from storage.postgres.tables.denials import DENIAL_POSITIONS as P
from storage.postgres.tables.denials import DENIAL_SOURCES as S


async def take(connection: AsyncConnection, report: DenialReport, *, now_ns: int) -> bool:
    """Whether this report is still to be written, in this transaction of its tenant; it then counts as
    written. Another that takes one of the same process waits for the end of this transaction.
    """
    given = {
        "tenant_id": report.tenant_id,
        "source": report.source,
        "sequence": report.sequence,
        "heard_ns": now_ns,
    }
    statement = insert(S).values(given)
    newer = statement.on_conflict_do_update(
        index_elements=[S.c.tenant_id, S.c.source],
        set_={"sequence": statement.excluded.sequence, "heard_ns": statement.excluded.heard_ns},
        where=S.c.sequence < statement.excluded.sequence,
    ).returning(S.c.sequence)
    return (await connection.execute(newer)).first() is not None


async def forget_sources(connection: AsyncConnection, tenant_id: str, *, before_ns: int) -> None:
    """Processes that were not heard of for longer than the log keeps what they wrote."""
    await connection.execute(delete(S).where(S.c.tenant_id == tenant_id, S.c.heard_ns < before_ns))


async def position(connection: AsyncConnection, partition: int) -> int:
    """Where to read on; 0 for a partition that was never read."""
    found = await connection.scalar(select(P.c.next_offset).where(P.c.partition == partition))
    return found or 0


async def set_position(connection: AsyncConnection, partition: int, next_offset: int) -> None:
    """All reports before this offset are written."""
    statement = insert(P).values(partition=partition, next_offset=next_offset)
    moved = {"next_offset": statement.excluded.next_offset}
    await connection.execute(statement.on_conflict_do_update(index_elements=[P.c.partition], set_=moved))
