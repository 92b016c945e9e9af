"""The audit log: entries that are added and read, and never changed by those who serve requests."""

from alembic import op

from storage.postgres.config import OWNER_ROLE, SCHEMA
from storage.postgres.migrations.guarding import guard

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE {s}.audit_entries (
  tenant_id text NOT NULL,
  sequence bigint NOT NULL CHECK (sequence > 0),
  at_ns bigint NOT NULL,
  actor text NOT NULL,
  action text NOT NULL,
  object text NOT NULL,
  outcome text NOT NULL CHECK (outcome IN ('done', 'denied')),
  details text NOT NULL,
  hash bytea NOT NULL CHECK (octet_length(hash) = 32),
  PRIMARY KEY (tenant_id, sequence)
);
CREATE TABLE {s}.audit_heads (
  tenant_id text PRIMARY KEY,
  sequence bigint NOT NULL,
  hash bytea NOT NULL
) WITH (fillfactor = 50);
CREATE TABLE {s}.audit_cuts (
  tenant_id text NOT NULL,
  sequence bigint NOT NULL,
  hash bytea NOT NULL,
  at_ns bigint NOT NULL,
  kid text NOT NULL,
  signature text NOT NULL,
  PRIMARY KEY (tenant_id, sequence)
);
CREATE INDEX ON {s}.audit_entries (tenant_id, actor, sequence);
CREATE INDEX ON {s}.audit_entries (at_ns, tenant_id, sequence);
"""
_PURGE = """
CREATE POLICY purge_rows ON {s}.audit_entries FOR DELETE TO {owner} USING (
  sequence <= (SELECT max(c.sequence) FROM {s}.audit_cuts c WHERE c.tenant_id = audit_entries.tenant_id)
)
"""


def upgrade() -> None:
    """Make the tables. Only their owner deletes, and only entries below a cut: that is how retention ends."""
    for statement in _TABLES.format(s=SCHEMA).split(";\n"):
        if statement.strip():
            op.execute(statement)
    guard("audit_entries", app=("SELECT", "INSERT"), platform=("SELECT",))
    guard("audit_heads", app=("SELECT", "INSERT", "UPDATE"), platform=("SELECT",))
    guard("audit_cuts", app=("SELECT", "INSERT"), platform=("SELECT",))
    for table in ("audit_entries", "audit_cuts"):
        op.execute(f"CREATE POLICY cut_rows ON {SCHEMA}.{table} FOR SELECT TO {OWNER_ROLE} USING (true)")
    op.execute(_PURGE.format(s=SCHEMA, owner=OWNER_ROLE))
