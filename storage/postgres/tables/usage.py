"""What tenants used, and how far the logs it is counted from were read."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Date, Integer, Table, Text

from storage.postgres.tables import METADATA

USAGE_DAYS = Table(
    "usage_days",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("tier", Text, primary_key=True),
    Column("feature", Text, primary_key=True),
    Column("measure", Text, primary_key=True),
    Column("amount", BigInteger, nullable=False),
)
"""Amounts by day (UTC); `user_id` is empty for what is the tenant's alone."""

USAGE_ALERTS = Table(
    "usage_alerts",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("month", Text, primary_key=True),
    Column("measure", Text, primary_key=True),
    Column("level", Integer, primary_key=True),
    Column("used", BigInteger, nullable=False),
    Column("allowed", BigInteger, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("told_ns", BigInteger),
)
"""What a tenant was told: each level of each limit once a month; 0 is an entitlement that ended."""

USAGE_SEQUENCES = Table(
    "usage_sequences",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
)
"""The last signal of each user that was counted."""

USAGE_SOURCES = Table(
    "usage_sources",
    METADATA,
    Column("source", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("heard_ns", BigInteger, nullable=False),
)
"""The last report of each process that was counted."""

USAGE_POSITIONS = Table(
    "usage_positions",
    METADATA,
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
    Column("claim", BigInteger, nullable=False),
)
"""How far a topic was counted, in the transaction that counted; `claim` is the last claim before that."""
