"""Row-level security as the application meets it, through the real pool."""

from __future__ import annotations

from sqlalchemy import insert, select

from storage.postgres.database import Database
from storage.postgres.tables.people import TENANTS


def _row(tenant_id: str) -> dict[str, object]:
    return {
        "tenant_id": tenant_id,
        "name": tenant_id,
        "tier": "free",
        "status": "active",
        "entitled_until_ns": 1,
        "created_ns": 1,
        "changed_ns": 1,
        "version": 1,
    }


async def test_a_transaction_sees_its_own_tenant_alone(database: Database) -> None:
    """Two tenants, one pool: each sees one row, the platform both."""
    for tenant in ("acme", "bolt"):
        async with database.tenant(tenant) as connection:
            await connection.execute(insert(TENANTS), _row(tenant))

    async with database.tenant("acme") as connection:
        seen = (await connection.execute(select(TENANTS.c.tenant_id))).scalars().all()
    async with database.platform() as connection:
        every = (await connection.execute(select(TENANTS.c.tenant_id))).scalars().all()

    assert list(seen) == ["acme"]
    assert sorted(every) == ["acme", "bolt"]
