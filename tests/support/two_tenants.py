"""Two tenants that must not meet, and what one of them is refused."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import Executable, insert, text
from sqlalchemy.exc import DBAPIError

from storage.postgres.database import Database
from storage.postgres.tables.people import TENANTS, USERS
from tests.support.rows import tenant_row, user_row

CANARY = "canary-of-bolt"


async def people(database: Database) -> None:
    """Acme and Bolt, a user each; Bolt's has the canary for a name."""
    for tenant, name in (("acme", "Ann"), ("bolt", CANARY)):
        async with database.tenant(tenant) as connection:
            await connection.execute(insert(TENANTS), tenant_row(tenant))
            await connection.execute(insert(USERS), user_row(tenant, f"u-{tenant}", name=name))


async def _do(database: Database, *statements: Executable) -> None:
    """One transaction of Acme's."""
    async with database.tenant("acme") as connection:
        for statement in statements:
            await connection.execute(statement)


async def refused(database: Database, state: str, *statements: Executable | str) -> psycopg.Error:
    """The error that Acme's transaction gets, by SQLSTATE."""
    asked = [text(one) if isinstance(one, str) else one for one in statements]
    with pytest.raises(DBAPIError) as caught:
        await _do(database, *asked)
    error = caught.value.orig
    assert isinstance(error, psycopg.Error)
    assert error.sqlstate == state
    assert CANARY not in str(error)
    return error
