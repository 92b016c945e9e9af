"""Brings a database to the newest schema, as its owner."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

from models.errors import ConfigError
from storage.postgres.config import SCHEMA, PostgresConfig
from storage.postgres.database import engine, translated

_TURN: Final = "central-hub migrations"
_SCRIPTS: Final = Path(__file__).parent / "migrations"


def migrate(config: PostgresConfig, *, to: str = "head") -> None:
    """Run the missing migrations, all in one transaction; ConfigError without an owner to log in as."""
    asyncio.run(migrated(config, to=to))


async def migrated(config: PostgresConfig, *, to: str = "head") -> None:
    """`migrate` for callers that have an event loop."""
    if config.owner is None:
        raise ConfigError(
            "postgres.owner is missing: migrations run as the owner of the tables", field="postgres"
        )
    owner = engine(config, config.owner, pool_size=1)
    try:
        with translated():
            async with owner.begin() as connection:
                await _take_turn(connection, config)
                await connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
                await connection.run_sync(_upgrade, to)
    finally:
        await owner.dispose()


def newest() -> str:
    """The revision that this release needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise ConfigError("this installation has no migrations")
    return head


def current(connection: Connection) -> str | None:
    """The revision of a database; None for an empty one."""
    return MigrationContext.configure(
        connection, opts={"version_table_schema": SCHEMA}
    ).get_current_revision()


async def _take_turn(connection: AsyncConnection, config: PostgresConfig) -> None:
    """One process migrates at a time, for as long as it takes; the next finds the work done. A table that is
    in use is waited for only as long as its users can wait behind the migration.
    """
    await connection.execute(text("SET LOCAL statement_timeout = 0"))
    await connection.execute(text("SET LOCAL lock_timeout = 0"))
    await connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": _TURN}
    )
    patience = str(config.statement_timeout_ms // 2)
    await connection.execute(text("SELECT set_config('lock_timeout', :ms, true)"), {"ms": patience})


def _upgrade(connection: Connection, to: str) -> None:
    config = _config()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, to)
    except CommandError as error:
        raise ConfigError(
            f"the schema cannot be migrated: {error}. A database of a newer release needs that release",
            field="postgres",
        ) from error


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.set_main_option("path_separator", "os")
    return config
