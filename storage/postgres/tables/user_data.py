"""Long-term user data: the events of the `user.*` topics, how far each was moved, what nobody could read."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Table, Text
from sqlalchemy.dialects.postgresql import JSON

from storage.postgres.tables import METADATA

USER_DATA = Table(
    "user_data",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("data_type", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("occurred_ns", BigInteger, nullable=False),
    Column("at_ns", BigInteger, primary_key=True),
    Column("body", JSON, nullable=False),
)
"""Partitioned by `data_type` and then by the month of `at_ns`. `body` is JSON as it was written, not `jsonb`:
that one cannot hold every string that JSON can.
"""

USER_DATA_POSITIONS = Table(
    "user_data_positions",
    METADATA,
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
)
"""The offset behind the last record that was moved, written in the transaction that moves it."""

USER_DATA_QUARANTINE = Table(
    "user_data_quarantine",
    METADATA,
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("log_offset", BigInteger, primary_key=True),
    Column("timestamp_ms", BigInteger, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("noted_ns", BigInteger, nullable=False),
)
"""Records whose owner nobody can tell, so no tenant sees them."""
