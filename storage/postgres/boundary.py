"""Refuses a database in which the boundary between tenants is open.

Every rule asks the catalogue as the role that will serve requests, so what it finds is what that role could
do. It reads no row of any tenant.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection

from models.errors import ConfigError
from storage.postgres.config import APP_ROLE, OWNER_ROLE, PLATFORM_ROLE, SCHEMA, Login, PostgresConfig
from storage.postgres.database import engine, translated
from storage.postgres.migrate import current, newest
from storage.postgres.rules import Hole, Rule, code, logins, tables

_NAMES: Final = {"schema": SCHEMA, "owner": OWNER_ROLE, "platform": PLATFORM_ROLE}
PLATFORM_RULES: Final = (
    logins.MEMBERSHIPS,
    logins.POSSESSIONS,
    logins.PLACES,
    logins.SETTINGS,
    tables.GRANTS,
)
APP_RULES: Final = (
    *PLATFORM_RULES,
    logins.NOT_THE_PLATFORM,
    tables.ROW_SECURITY,
    tables.POLICIES,
    tables.UNTENANTED,
    tables.FOREIGN_KEYS,
    code.VIEWS,
    code.REWRITES,
    code.DEFINERS,
)


async def check_boundary(config: PostgresConfig) -> None:
    """ConfigError that names everything that is open, with the SQL that closes it, or an old schema.

    It logs in anew for both roles: a connection that has served somebody does not show what is set for all.
    """
    async with _fresh(config, config.app) as connection:
        await check_revision(connection)
        found = [hole async for hole in holes(connection, APP_RULES)]
    async with _fresh(config, config.platform) as connection:
        found += [hole async for hole in holes(connection, PLATFORM_RULES)]
    if found:
        raise _refusal(dict.fromkeys(found))


async def check_revision(connection: AsyncConnection) -> None:
    """ConfigError unless the schema is the one that this release needs."""
    try:
        found, needed = await connection.run_sync(current), newest()
    except ProgrammingError as error:
        raise ConfigError(
            f"the application's role may not read the schema's revision: GRANT {APP_ROLE} to it",
            field="postgres",
        ) from error
    if found != needed:
        raise ConfigError(
            f"the schema of the database is {found or 'missing'} and this release needs {needed}: "
            "run `hub database migrate`, of the newest release that uses this database",
            field="postgres",
        )


async def holes(connection: AsyncConnection, rules: Iterable[Rule]) -> AsyncIterator[Hole]:
    """What these rules find. A superuser is not looked at any further: nothing holds against one."""
    (row,) = await connection.execute(text(logins.POWERS.query))
    for hole in logins.POWERS.holes(row):
        yield hole
    for rule in () if row.rolsuper else rules:
        given = {name: value for name, value in _NAMES.items() if f":{name}" in rule.query}
        for row in await connection.execute(text(rule.query), given):
            for hole in rule.holes(row):
                yield hole


@asynccontextmanager
async def _fresh(config: PostgresConfig, login: Login) -> AsyncIterator[AsyncConnection]:
    pool = engine(config, login, pool_size=1)
    try:
        with translated():
            async with pool.begin() as connection:
                yield connection
    finally:
        await pool.dispose()


def _refusal(found: Iterable[Hole]) -> ConfigError:
    told = [f"{hole.what}; to close it: {hole.closes}" for hole in found]
    return ConfigError(
        "the boundary between tenants is open in this database:\n- " + "\n- ".join(told),
        field="postgres",
        details={"holes": told},
    )
