"""Tables of denials on their way from the log into the audit."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, Table, Text

from storage.postgres.tables import METADATA

DENIAL_SOURCES = Table(
    "denial_sources",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("heard_ns", BigInteger, nullable=False),
)
"""The last report of each process that is in the tenant's audit log."""

DENIAL_POSITIONS = Table(
    "denial_positions",
    METADATA,
    Column("partition", Integer, primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
)
"""Where to read on. All before it is in the audit logs; what is behind it may be."""
