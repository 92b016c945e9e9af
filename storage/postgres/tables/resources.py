"""What tenants hold of what they may have: leases, and their sum."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKeyConstraint, Index, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from storage.postgres.tables import METADATA
from storage.postgres.tables.people import TENANTS

LEASES = Table(
    "leases",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("lease_id", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("amounts", JSONB, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("expires_ns", BigInteger, nullable=False),
    ForeignKeyConstraint(["tenant_id"], [TENANTS.c.tenant_id]),
)
Index("leases_tenant_id_expires_ns_idx", LEASES.c.tenant_id, LEASES.c.expires_ns)

RESOURCE_USE = Table(
    "resource_use",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("in_use", JSONB, nullable=False),
    Column("next_expiry_ns", BigInteger, nullable=False),
    ForeignKeyConstraint(["tenant_id"], [TENANTS.c.tenant_id]),
)
"""The sum of a tenant's leases by resource, those included that have expired since anybody looked; no lease
expires before `next_expiry_ns`. Whoever decides holds the row: it is the tenant's one lock."""
