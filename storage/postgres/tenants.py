"""The rows of tenants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from models.errors import Conflict, NotFound
from models.principal import Tier
from models.tenant import Tenant, TenantStatus
from storage.postgres.tables.people import TENANTS as T


async def add(connection: AsyncConnection, tenant: Tenant) -> None:
    """Write a new tenant; Conflict if the name was ever given."""
    try:
        await connection.execute(insert(T).values(tenant.model_dump()))
    except IntegrityError as error:
        raise Conflict(f"the tenant {tenant.tenant_id!r} exists already", field="tenant_id") from error


async def find(connection: AsyncConnection, tenant_id: str) -> Tenant | None:
    """The tenant, whatever its status."""
    row = (await connection.execute(select(T).where(T.c.tenant_id == tenant_id))).mappings().first()
    return Tenant.model_validate(dict(row)) if row else None


async def hold(connection: AsyncConnection, tenant_id: str) -> None:
    """Keep the tenant from being deleted until the transaction ends; NotFound if it is not there, or is."""
    await _held(connection, select(T.c.status).with_for_update(read=True, key_share=True), tenant_id)


async def hold_alone(connection: AsyncConnection, tenant_id: str) -> None:
    """Wait until nobody else changes anything of the tenant, and let nobody until the transaction ends."""
    await _held(connection, select(T.c.status).with_for_update(), tenant_id)


async def page(connection: AsyncConnection, *, after: str, most: int) -> Sequence[Tenant]:
    """Tenants by name from behind `after`; within a tenant's transaction that is itself alone."""
    statement = select(T).where(T.c.tenant_id > after).order_by(T.c.tenant_id).limit(most)
    return [Tenant.model_validate(dict(row)) for row in (await connection.execute(statement)).mappings()]


async def change(
    connection: AsyncConnection,
    tenant_id: str,
    *,
    now_ns: int,
    name: str | None = None,
    tier: Tier | None = None,
    status: TenantStatus | None = None,
    entitled_until_ns: int | None = None,
) -> Tenant:
    """Change what is given; NotFound if there is no such tenant, or it is deleted."""
    given = {"name": name, "tier": tier, "status": status, "entitled_until_ns": entitled_until_ns}
    values = {column: value for column, value in given.items() if value is not None}
    statement = (
        update(T)
        .where(T.c.tenant_id == tenant_id, T.c.status != TenantStatus.DELETED)
        .values(**values, changed_ns=now_ns, version=T.c.version + 1)
        .returning(T)
    )
    row = (await connection.execute(statement)).mappings().first()
    if row is None:
        raise NotFound("there is nothing of that name for you")
    return Tenant.model_validate(dict(row))


async def suspended(connection: AsyncConnection) -> Sequence[str]:
    """The names of the tenants that are suspended."""
    statement = select(T.c.tenant_id).where(T.c.status == TenantStatus.SUSPENDED).order_by(T.c.tenant_id)
    return list((await connection.execute(statement)).scalars())


async def _held(connection: AsyncConnection, statement: Select[Any], tenant_id: str) -> None:
    status: str | None = (
        await connection.execute(statement.where(T.c.tenant_id == tenant_id))
    ).scalar_one_or_none()
    if status is None or status == TenantStatus.DELETED:
        raise NotFound("there is nothing of that name for you")
