"""How far denials of the data plane have come into the audit logs."""

from alembic import op

from storage.postgres.config import PLATFORM_ROLE, SCHEMA
from storage.postgres.migrations.guarding import allow, guard

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE {s}.denial_sources (
  tenant_id text NOT NULL,
  source text NOT NULL,
  sequence bigint NOT NULL,
  heard_ns bigint NOT NULL,
  PRIMARY KEY (tenant_id, source)
);
CREATE TABLE {s}.denial_positions (
  partition integer PRIMARY KEY,
  next_offset bigint NOT NULL
);
"""


def upgrade() -> None:
    """Make the tables: a report is taken in the transaction of its tenant, the topic read by the platform."""
    for statement in _TABLES.format(s=SCHEMA).split(";\n"):
        if statement.strip():
            op.execute(statement)
    guard("denial_sources", app=("SELECT", "INSERT", "UPDATE", "DELETE"))
    allow("denial_positions", PLATFORM_ROLE, ("SELECT", "INSERT", "UPDATE"))
