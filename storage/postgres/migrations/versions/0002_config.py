"""Config by version, and the secrets in it."""

from alembic import op

from storage.postgres.config import APP_ROLE, SCHEMA
from storage.postgres.migrations.guarding import guard

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE {s}.config_versions (
  tenant_id text NOT NULL REFERENCES {s}.tenants,
  layer text NOT NULL CHECK (layer IN ('global', 'environment', 'tier', 'tenant', 'user')),
  subject text NOT NULL,
  version integer NOT NULL CHECK (version > 0),
  author text NOT NULL,
  at_ns bigint NOT NULL,
  comment text NOT NULL,
  document jsonb NOT NULL,
  PRIMARY KEY (tenant_id, layer, subject, version),
  CHECK (layer IN ('tenant', 'user') OR tenant_id = 'platform'),
  CHECK ((subject = '') = (layer IN ('global', 'tenant')))
);
CREATE TABLE {s}.tenant_data_keys (
  tenant_id text NOT NULL REFERENCES {s}.tenants,
  version integer NOT NULL CHECK (version > 0),
  wrapped bytea NOT NULL,
  created_ns bigint NOT NULL,
  PRIMARY KEY (tenant_id, version)
);
CREATE TABLE {s}.tenant_secrets (
  tenant_id text NOT NULL,
  secret_id text PRIMARY KEY,
  layer text NOT NULL CHECK (layer IN ('tenant', 'user')),
  subject text NOT NULL,
  name text NOT NULL,
  key_version integer NOT NULL,
  sealed bytea NOT NULL,
  created_ns bigint NOT NULL,
  UNIQUE (tenant_id, secret_id),
  FOREIGN KEY (tenant_id, key_version) REFERENCES {s}.tenant_data_keys (tenant_id, version)
);
CREATE INDEX ON {s}.tenant_secrets (tenant_id, key_version);
"""
_ONLY_OF_THE_GONE = """
CREATE POLICY only_of_the_gone ON {s}.config_versions AS RESTRICTIVE FOR DELETE TO {app} USING (
  EXISTS (SELECT 1 FROM {s}.tenants t WHERE t.tenant_id = config_versions.tenant_id AND t.status = 'deleted')
  OR (layer = 'user' AND NOT EXISTS (
    SELECT 1 FROM {s}.users u WHERE u.tenant_id = config_versions.tenant_id AND u.user_id = subject))
)
"""


def upgrade() -> None:
    """Make the tables. A version is never changed, and goes only with its tenant or its user."""
    for statement in _TABLES.format(s=SCHEMA).split(";\n"):
        if statement.strip():
            op.execute(statement)
    guard("config_versions", app=("SELECT", "INSERT", "DELETE"), platform=("SELECT",))
    guard("tenant_data_keys", app=("SELECT", "INSERT", "UPDATE", "DELETE"))
    guard("tenant_secrets", app=("SELECT", "INSERT", "UPDATE", "DELETE"))
    op.execute(_ONLY_OF_THE_GONE.format(s=SCHEMA, app=APP_ROLE))
