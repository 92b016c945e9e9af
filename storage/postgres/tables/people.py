"""Tenants, their people, and how those come in."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from storage.postgres.tables import METADATA

TENANTS = Table(
    "tenants",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("tier", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("entitled_until_ns", BigInteger, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("changed_ns", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
)

USERS = Table(
    "users",
    METADATA,
    Column("tenant_id", Text, nullable=False),
    Column("user_id", Text, primary_key=True),
    Column("login", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("email", Text),
    Column("roles", ARRAY(Text), nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("profile", JSONB, nullable=False),
    Column("password_hash", Text),
    Column("not_before_ns", BigInteger, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("changed_ns", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    UniqueConstraint("tenant_id", "login"),
    UniqueConstraint("tenant_id", "user_id"),
    ForeignKeyConstraint(["tenant_id"], [TENANTS.c.tenant_id]),
)
"""`user_id` is the hub's and unique over all tenants; `login` is the user's own word within the tenant."""

INVITATIONS = Table(
    "invitations",
    METADATA,
    Column("tenant_id", Text, nullable=False),
    Column("invitation_id", Text, primary_key=True),
    Column("login", Text, nullable=False),
    Column("roles", ARRAY(Text), nullable=False),
    Column("secret_sha256", LargeBinary, nullable=False),
    Column("invited_by", Text, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("expires_ns", BigInteger, nullable=False),
    Column("accepted_ns", BigInteger),
    ForeignKeyConstraint(["tenant_id"], [TENANTS.c.tenant_id]),
)

SESSIONS = Table(
    "sessions",
    METADATA,
    Column("tenant_id", Text, nullable=False),
    Column("session_id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("client", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("secret_sha256", LargeBinary, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("refreshed_ns", BigInteger, nullable=False),
    Column("expires_ns", BigInteger, nullable=False),
    Column("ended_ns", BigInteger),
    Column("ended_because", Text),
    ForeignKeyConstraint(["tenant_id", "user_id"], [USERS.c.tenant_id, USERS.c.user_id]),
)
"""A session is a family of refresh tokens: `generation` and the hash are those of the newest."""

API_KEYS = Table(
    "api_keys",
    METADATA,
    Column("tenant_id", Text, nullable=False),
    Column("key_id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("secret_sha256", LargeBinary, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("expires_ns", BigInteger, nullable=False),
    Column("revoked_ns", BigInteger),
    ForeignKeyConstraint(["tenant_id", "user_id"], [USERS.c.tenant_id, USERS.c.user_id]),
)

LOGIN_FAILURES = Table(
    "login_failures",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("login", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("blocked_until_ns", BigInteger, nullable=False),
    Column("last_ns", BigInteger, nullable=False),
    Column("succeeded_ns", BigInteger),
)
"""Counted by where they come from, so that nobody locks somebody else out; `succeeded_ns` marks a source that
has once known the password."""

SIGNING_KEYS = Table(
    "signing_keys",
    METADATA,
    Column("kid", Text, primary_key=True),
    Column("public_jwk", JSONB, nullable=False),
    Column("sealed_private", LargeBinary, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("signs_from_ns", BigInteger, nullable=False),
    Column("retired_ns", BigInteger),
)
"""The platform's own; no tenant's transaction reaches them."""

ANNOUNCEMENTS = Table(
    "announcements",
    METADATA,
    Column("key", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("marked_ns", BigInteger, nullable=False),
    Column("due_ns", BigInteger, nullable=False),
)
"""What others must be told, marked in the transaction that changes something, unmarked when they have been:
keys of `hub.tenants` whose record is older than the database (`kind` of `models.tenant.Kind`), and duties
(`Duty`), which are not done before `due_ns`."""
