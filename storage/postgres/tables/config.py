"""Config of tenants and of the platform, version by version, and the secrets in it."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB

from storage.postgres.tables import METADATA
from storage.postgres.tables.people import TENANTS

CONFIG_VERSIONS = Table(
    "config_versions",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("layer", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("author", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("comment", Text, nullable=False),
    Column("document", JSONB, nullable=False),
    ForeignKeyConstraint(["tenant_id"], [TENANTS.c.tenant_id]),
)
"""Written once, never changed: nobody may UPDATE. The platform's layers are rows of its own tenant. `subject`
is the environment, the tier or the user that a layer is of, else empty.
"""

TENANT_DATA_KEYS = Table(
    "tenant_data_keys",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    ForeignKeyConstraint(["tenant_id"], [TENANTS.c.tenant_id]),
)
"""Keys that a tenant's secrets are sealed with, themselves sealed with the hub's. Without them nobody reads
the secrets again, from no backup made later either.
"""

TENANT_SECRETS = Table(
    "tenant_secrets",
    METADATA,
    Column("tenant_id", Text, nullable=False),
    Column("secret_id", Text, primary_key=True),
    Column("layer", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("key_version", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    UniqueConstraint("tenant_id", "secret_id"),
    ForeignKeyConstraint(
        ["tenant_id", "key_version"], [TENANT_DATA_KEYS.c.tenant_id, TENANT_DATA_KEYS.c.version]
    ),
)
"""Sealed values. Documents refer to them by id, so that a value can be sealed anew and its versions stay."""
