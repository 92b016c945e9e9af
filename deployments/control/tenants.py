"""Tenants: made, changed, suspended and ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from deployments.control.changes import Change, Changes
from models.principal import Tier
from models.tenant import Kind, Tenant, TenantRecord, TenantStatus
from storage.postgres import tenants
from storage.postgres.database import Database


class TenantDesk:
    """What the routes of tenants call."""

    def __init__(self, database: Database, changes: Changes) -> None:
        self._database = database
        self._changes = changes

    async def find(self, tenant_id: str) -> Tenant | None:
        """The tenant, if it exists and is not deleted."""
        async with self._database.tenant(tenant_id) as connection:
            found = await tenants.find(connection, tenant_id)
        return found if found and found.status is not TenantStatus.DELETED else None

    async def page(self, *, after: str, most: int) -> Sequence[Tenant]:
        """Tenants by name, those that are deleted too."""
        async with self._database.platform() as connection:
            return await tenants.page(connection, after=after, most=most)

    async def change(self, tenant_id: str, *, by: str, action: str, **values: Any) -> Tenant:
        """Change what is given and tell everybody."""
        async with self._changes.of(tenant_id, actor=by) as change:
            tenant = await tenants.change(change.connection, tenant_id, now_ns=change.now_ns, **values)
            await told(change, action, **values)
        return tenant


async def told(change: Change, action: str, **values: Any) -> None:
    """Write down and announce what was done to the tenant."""
    await change.note(action, change.tenant_id, **values)
    await change.announce(Kind.TENANT, change.tenant_id)


async def render(connection: AsyncConnection, ids: Sequence[str]) -> TenantRecord | None:
    """What the log says of a tenant: the whole of what the database says now."""
    tenant = await tenants.find(connection, ids[0])
    if tenant is None:
        return None
    return TenantRecord(
        tenant_id=tenant.tenant_id,
        tier=Tier(tenant.tier),
        status=tenant.status,
        entitled_until_ns=tenant.entitled_until_ns,
        version=tenant.version,
    )
