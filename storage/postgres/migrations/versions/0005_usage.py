"""What tenants used, counted once from the logs."""

from alembic import op

from storage.postgres.config import PLATFORM_ROLE, SCHEMA
from storage.postgres.migrations.guarding import allow, guard

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE {s}.usage_days (
  tenant_id text NOT NULL,
  day date NOT NULL,
  user_id text NOT NULL,
  tier text NOT NULL,
  feature text NOT NULL,
  measure text NOT NULL,
  amount bigint NOT NULL CHECK (amount >= 0),
  PRIMARY KEY (tenant_id, day, user_id, tier, feature, measure)
);
CREATE INDEX ON {s}.usage_days (day);
CREATE TABLE {s}.usage_alerts (
  tenant_id text NOT NULL,
  month text NOT NULL,
  measure text NOT NULL,
  level integer NOT NULL,
  used bigint NOT NULL,
  allowed bigint NOT NULL,
  at_ns bigint NOT NULL,
  told_ns bigint,
  PRIMARY KEY (tenant_id, month, measure, level)
);
CREATE INDEX ON {s}.usage_alerts (at_ns) WHERE told_ns IS NULL;
CREATE TABLE {s}.usage_sequences (
  tenant_id text NOT NULL,
  user_id text NOT NULL,
  sequence bigint NOT NULL,
  PRIMARY KEY (tenant_id, user_id)
);
CREATE TABLE {s}.usage_sources (
  source text PRIMARY KEY,
  sequence bigint NOT NULL,
  heard_ns bigint NOT NULL
);
CREATE TABLE {s}.usage_positions (
  topic text NOT NULL,
  partition integer NOT NULL,
  next_offset bigint NOT NULL,
  claim bigint NOT NULL,
  PRIMARY KEY (topic, partition)
);
"""
_COUNTS = ("SELECT", "INSERT", "UPDATE")


def upgrade() -> None:
    """Make the tables: tenants read what they used, the platform alone counts."""
    for statement in _TABLES.format(s=SCHEMA).split(";\n"):
        if statement.strip():
            op.execute(statement)
    guard("usage_days", app=("SELECT",), platform=_COUNTS)
    guard("usage_alerts", app=("SELECT", "UPDATE"), platform=("SELECT", "INSERT"))
    guard("usage_sequences", app=(), platform=_COUNTS)
    allow("usage_sources", PLATFORM_ROLE, (*_COUNTS, "DELETE"))
    allow("usage_positions", PLATFORM_ROLE, _COUNTS)
