"""Migrations: forward from anything, with what is in it; all or nothing; and to what queries expect."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Inspector, func, inspect, select, text
from sqlalchemy.exc import ProgrammingError

from models.errors import ConfigError
from storage.postgres import migrate, tables
from storage.postgres.boundary import check_boundary
from storage.postgres.config import PostgresConfig
from storage.postgres.database import Database, engine
from storage.postgres.tables import METADATA
from tests.support.postgres import PostgresServer

ROWS: Mapping[str, Mapping[str, str]] = {
    "0001": {
        "tenants": "('acme', 'Acme', 'pro', 'active', 1, 1, 1, 1)",
        "users": "('acme', 'u-1', 'ann', 'Ann', NULL, '{}', true, '{}', NULL, 0, 1, 1, 1)",
        "sessions": "('acme', 's-1', 'u-1', 'test', 1, '\\x00', 1, 1, 2, NULL, NULL)",
    },
    "0002": {"config_versions": "('acme', 'tenant', '', 1, 'ann', 1, '', '{}')"},
    "0003": {"leases": "('acme', 'l-1', 'ann', '{}', 1, 2)", "resource_use": "('acme', '{}', 2)"},
    "0004": {"audit_entries": "('acme', 1, 1, 'ann', 'a', 'o', 'done', '{}', sha256(''))"},
    "0005": {"usage_days": "('acme', '2026-11-01', 'u-1', 'pro', 'f', 'calls', 1)"},
    "0006": {"user_data": "('acme', 'u-1', 'auth', 'e-1', 'login', 1, extract(epoch FROM now())*1e9, '{}')"},
    "0007": {"denial_sources": "('acme', 'gateway-1', 1, 1)"},
    "0008": {},
}  # fmt: skip
"""Rows of Acme's that a revision makes room for. A new revision brings its own."""
REVISIONS = sorted(ROWS)
for _module in pkgutil.iter_modules(tables.__path__, f"{tables.__name__}."):
    importlib.import_module(_module.name)  # METADATA holds what was imported


@pytest.fixture
def empty(postgres_run: PostgresServer) -> Iterator[PostgresConfig]:
    """A database in which nothing was ever migrated."""
    with postgres_run.clone("template1") as config:
        yield config


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release whose last revision fails after it has made a table."""
    scripts = tmp_path / "migrations"
    shutil.copytree(migrate._SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "9999_broken.py").write_text(
        f"from alembic import op\nrevision = '9999'\ndown_revision = {migrate.newest()!r}\n"
        "def upgrade() -> None:\n"
        "    op.execute('CREATE TABLE hub.half (x int)')\n"
        "    op.execute('SELECT no_such_column')\n"
    )
    monkeypatch.setattr(migrate, "_SCRIPTS", scripts)


def _fill(server: PostgresServer, database: str, upto: str) -> dict[str, str]:
    """Write the rows that there is room for at this revision, past the boundary."""
    rows = {table: row for revision in REVISIONS if revision <= upto for table, row in ROWS[revision].items()}
    with psycopg.connect(server.dsn(database), autocommit=True) as admin:
        for table, row in rows.items():
            if table == "user_data":
                admin.execute("SELECT hub.make_user_data_month('auth', date_trunc('month', now())::date)")
            admin.execute(f"INSERT INTO hub.{table} VALUES {row}".encode())  # noqa: S608 - the rows above
    return rows


async def _counts(config: PostgresConfig, tenant: str, names: Mapping[str, str]) -> dict[str, int]:
    database = Database(config)
    async with database.tenant(tenant) as connection:
        found = {
            name: await connection.scalar(select(func.count()).select_from(METADATA.tables[f"hub.{name}"]))
            for name in names
        }
    await database.close()
    return {name: count or 0 for name, count in found.items()}


def test_every_revision_brings_rows_for_the_next() -> None:
    """A revision that is not in the list above would be tried with nothing in it."""
    scripts = ScriptDirectory.from_config(migrate._config())

    assert sorted(script.revision for script in scripts.walk_revisions()) == REVISIONS


@pytest.mark.parametrize("revision", REVISIONS)
async def test_rows_of_every_earlier_schema_are_there_afterwards(
    revision: str, empty: PostgresConfig, postgres_run: PostgresServer
) -> None:
    """Forward from each revision with data in it: their tenant sees them, nobody else does."""
    await migrate.migrated(empty, to=revision)
    rows = _fill(postgres_run, empty.database, revision)

    await migrate.migrated(empty)

    await check_boundary(empty)
    assert await _counts(empty, "acme", rows) == dict.fromkeys(rows, 1)
    assert await _counts(empty, "bolt", rows) == dict.fromkeys(rows, 0)


async def test_the_tables_that_queries_see_are_those_of_the_database(postgres_config: PostgresConfig) -> None:
    """Alembic compares tables, columns, types, nullability, unique and foreign keys; the inspector primary
    keys. Indexes, checks, policies and partitions no query names: they are the migrations' alone.
    """
    pool = engine(postgres_config, postgres_config.app)
    async with pool.connect() as connection:
        differences = await connection.run_sync(_differences)
        keys = await connection.run_sync(lambda sync: _primary_keys(inspect(sync)))
    await pool.dispose()

    assert differences == []
    assert keys == {
        table.name: {column.name for column in table.primary_key} for table in METADATA.tables.values()
    }


def _differences(connection: Connection) -> list[Any]:
    others = set(connection.scalars(text("SELECT relname FROM pg_class WHERE relispartition")))
    others.add("alembic_version")
    connection.execute(text("SET search_path = public"))  # what is on the path has no schema for alembic
    connection.dialect.default_schema_name = "public"

    def compared(*about: Any) -> bool:
        _, name, kind, *_ = about
        return kind != "index" and not (kind == "table" and name in others)

    options = {
        "include_schemas": True,
        "include_name": lambda name, kind, _parents: kind != "schema" or name == METADATA.schema,
        "include_object": compared,
        "compare_type": True,
        "compare_server_default": True,
    }
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), METADATA))


def _primary_keys(inspector: Inspector) -> dict[str, set[str]]:
    return {
        table.name: set(inspector.get_pk_constraint(table.name, METADATA.schema)["constrained_columns"])
        for table in METADATA.tables.values()
    }


async def test_a_difference_would_be_found(
    postgres_config: PostgresConfig, postgres_run: PostgresServer
) -> None:
    """The comparison can fail: a type, a column and a table that queries know nothing of."""
    with psycopg.connect(postgres_run.dsn(postgres_config.database), autocommit=True) as admin:
        admin.execute("ALTER TABLE hub.users ALTER enabled TYPE text, ADD shoe_size int")
        admin.execute("CREATE TABLE hub.shoes (x int)")
    pool = engine(postgres_config, postgres_config.app)
    async with pool.connect() as connection:
        differences = await connection.run_sync(_differences)
    await pool.dispose()

    assert len(differences) == 3


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize("start", [None, REVISIONS[0]])
async def test_a_migration_that_fails_leaves_nothing_behind(
    start: str | None, empty: PostgresConfig, postgres_run: PostgresServer
) -> None:
    """All revisions are one transaction: those before the broken one are undone with it."""
    if start:
        await migrate.migrated(empty, to=start)
    before = _relations(postgres_run, empty.database)

    with pytest.raises(ProgrammingError):
        await migrate.migrated(empty)

    assert _relations(postgres_run, empty.database) == before
    assert ("half" in str(before), "users" in str(before)) == (False, start is not None)


def _relations(server: PostgresServer, database: str) -> list[tuple[object, ...]]:
    with psycopg.connect(server.dsn(database)) as admin:
        return admin.execute(
            "SELECT n.nspname, c.relname, c.relacl::text FROM pg_namespace n LEFT JOIN pg_class c"
            " ON c.relnamespace = n.oid WHERE n.nspname = 'hub' ORDER BY 1, 2"
        ).fetchall()


async def test_two_that_migrate_at_once_do_no_harm(empty: PostgresConfig) -> None:
    """One does it, the others wait and find it done."""
    await asyncio.gather(*(migrate.migrated(empty) for _ in range(3)))

    await check_boundary(empty)


async def test_a_schema_of_a_newer_release_is_left_alone(
    postgres_config: PostgresConfig, postgres_run: PostgresServer
) -> None:
    """Nobody migrates what he does not know."""
    with psycopg.connect(postgres_run.dsn(postgres_config.database), autocommit=True) as admin:
        admin.execute("UPDATE hub.alembic_version SET version_num = '9999'")

    with pytest.raises(ConfigError, match="newer release"):
        await migrate.migrated(postgres_config)


async def test_without_an_owner_nothing_is_migrated(postgres_config: PostgresConfig) -> None:
    """The roles that serve requests own nothing and could not."""
    with pytest.raises(ConfigError, match=r"postgres\.owner is missing"):
        await migrate.migrated(postgres_config.model_copy(update={"owner": None}))
