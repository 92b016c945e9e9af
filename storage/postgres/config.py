"""Where PostgreSQL is and who logs in. Frozen and without secrets."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, StringConstraints

from models.base import Frozen
from models.secret import SecretRef

SCHEMA: Final = "hub"
APP_ROLE: Final = "hub_app"
PLATFORM_ROLE: Final = "hub_platform"
OWNER_ROLE: Final = "hub_owner"
TENANT_SETTING: Final = "hub.tenant"

Address = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.:\[\]_-]+:[0-9]{1,5}$")]


class Login(Frozen):
    """A role and where its password is."""

    role: str
    password: SecretRef | None = None


class PostgresConfig(Frozen):
    """`app` sees one tenant at a time and is what requests run as; `platform` sees the few tables that are
    read across tenants; `owner` owns the tables, migrates them, and is needed for nothing else.

    Reads may go to `replica`, where it has what the caller has written.
    """

    address: Address
    database: str = "hub"
    replica: Address | None = None
    app: Login = Login(role=APP_ROLE)
    platform: Login = Login(role=PLATFORM_ROLE)
    owner: Login | None = None
    sslmode: str = "prefer"
    ca_file: str | None = None
    pool_size: Annotated[int, Field(gt=0, le=100)] = 10
    statement_timeout_ms: Annotated[int, Field(gt=0)] = 10_000
