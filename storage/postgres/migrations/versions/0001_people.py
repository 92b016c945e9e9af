"""Tenants, people, sessions, keys."""

from alembic import op

from storage.postgres.config import APP_ROLE, PLATFORM_ROLE, SCHEMA
from storage.postgres.migrations.guarding import allow, guard

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE {s}.tenants (
  tenant_id text PRIMARY KEY,
  name text NOT NULL,
  tier text NOT NULL CHECK (tier IN ('free', 'pro', 'enterprise', 'service')),
  status text NOT NULL CHECK (status IN ('active', 'suspended', 'deleted')),
  entitled_until_ns bigint NOT NULL,
  created_ns bigint NOT NULL,
  changed_ns bigint NOT NULL,
  version bigint NOT NULL
);
CREATE TABLE {s}.users (
  tenant_id text NOT NULL REFERENCES {s}.tenants,
  user_id text PRIMARY KEY,
  login text NOT NULL,
  name text NOT NULL,
  email text,
  roles text[] NOT NULL,
  enabled boolean NOT NULL,
  profile jsonb NOT NULL,
  password_hash text,
  not_before_ns bigint NOT NULL,
  created_ns bigint NOT NULL,
  changed_ns bigint NOT NULL,
  version bigint NOT NULL,
  UNIQUE (tenant_id, login),
  UNIQUE (tenant_id, user_id)
);
CREATE TABLE {s}.invitations (
  tenant_id text NOT NULL REFERENCES {s}.tenants,
  invitation_id text PRIMARY KEY,
  login text NOT NULL,
  roles text[] NOT NULL,
  secret_sha256 bytea NOT NULL,
  invited_by text NOT NULL,
  created_ns bigint NOT NULL,
  expires_ns bigint NOT NULL,
  accepted_ns bigint
);
CREATE TABLE {s}.sessions (
  tenant_id text NOT NULL,
  session_id text PRIMARY KEY,
  user_id text NOT NULL,
  client text NOT NULL,
  generation integer NOT NULL,
  secret_sha256 bytea NOT NULL,
  created_ns bigint NOT NULL,
  refreshed_ns bigint NOT NULL,
  expires_ns bigint NOT NULL,
  ended_ns bigint,
  ended_because text,
  FOREIGN KEY (tenant_id, user_id) REFERENCES {s}.users (tenant_id, user_id)
);
CREATE TABLE {s}.api_keys (
  tenant_id text NOT NULL,
  key_id text PRIMARY KEY,
  user_id text NOT NULL,
  name text NOT NULL,
  secret_sha256 bytea NOT NULL,
  scopes text[] NOT NULL,
  created_ns bigint NOT NULL,
  expires_ns bigint NOT NULL,
  revoked_ns bigint,
  FOREIGN KEY (tenant_id, user_id) REFERENCES {s}.users (tenant_id, user_id)
);
CREATE TABLE {s}.login_failures (
  tenant_id text NOT NULL,
  login text NOT NULL,
  source text NOT NULL,
  failures integer NOT NULL,
  blocked_until_ns bigint NOT NULL,
  last_ns bigint NOT NULL,
  succeeded_ns bigint,
  PRIMARY KEY (tenant_id, login, source)
);
CREATE TABLE {s}.signing_keys (
  kid text PRIMARY KEY,
  public_jwk jsonb NOT NULL,
  sealed_private bytea NOT NULL,
  created_ns bigint NOT NULL,
  signs_from_ns bigint NOT NULL,
  retired_ns bigint
);
CREATE TABLE {s}.announcements (
  key text PRIMARY KEY,
  kind text NOT NULL,
  tenant_id text NOT NULL,
  marked_ns bigint NOT NULL,
  due_ns bigint NOT NULL
);
CREATE INDEX ON {s}.sessions (tenant_id, user_id);
CREATE INDEX ON {s}.api_keys (tenant_id, user_id);
CREATE INDEX ON {s}.invitations (tenant_id);
"""
_EVERYTHING = ("SELECT", "INSERT", "UPDATE", "DELETE")


def upgrade() -> None:
    """Make the tables, each behind the boundary."""
    for role in (APP_ROLE, PLATFORM_ROLE):
        op.execute(f"GRANT USAGE ON SCHEMA {SCHEMA} TO {role}")
        op.execute(f"GRANT SELECT ON {SCHEMA}.alembic_version TO {role}")
    for statement in _TABLES.format(s=SCHEMA).split(";\n"):
        if statement.strip():
            op.execute(statement)
    guard("tenants", app=("SELECT", "INSERT", "UPDATE"), platform=("SELECT",))
    guard("users", app=_EVERYTHING, platform=("SELECT",))
    guard("invitations", app=_EVERYTHING)
    guard("sessions", app=_EVERYTHING, platform=("SELECT",))
    guard("api_keys", app=_EVERYTHING, platform=("SELECT",))
    guard("login_failures", app=_EVERYTHING, platform=("SELECT", "DELETE"))
    guard("announcements", app=("SELECT", "INSERT", "UPDATE", "DELETE"), platform=_EVERYTHING)
    allow("signing_keys", PLATFORM_ROLE, _EVERYTHING)
