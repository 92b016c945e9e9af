"""The audit log, its heads, and where it was cut by retention."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, LargeBinary, Table, Text

from storage.postgres.tables import METADATA

AUDIT_ENTRIES = Table(
    "audit_entries",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("at_ns", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("details", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)
"""`details` is text and no `jsonb`: it must come back byte for byte."""

AUDIT_HEADS = Table(
    "audit_heads",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)
"""The last entry of each log. Its row is what appends of one tenant take turns at."""

AUDIT_CUTS = Table(
    "audit_cuts",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("hash", LargeBinary, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("kid", Text, nullable=False),
    Column("signature", Text, nullable=False),
)
"""Up to `sequence` the log may be gone; signed, or nobody believes it."""
