"""The audit log of each tenant."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from models.audit import AuditEntry


async def append(connection: AsyncConnection, tenant_id: str, entry: AuditEntry) -> None:
    """Write the next entry of the tenant's log, in the transaction that makes the change."""
