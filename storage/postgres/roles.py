"""The three roles and the database, as SQL that an administrator of the server runs once.

None of them is a superuser or may pass by row-level security; only the owner owns anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import psycopg
from psycopg import sql

from storage.postgres.config import APP_ROLE, OWNER_ROLE, PLATFORM_ROLE

_PLAIN = sql.SQL("LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS")


def statements(database: str, passwords: Mapping[str, str | sql.Composable]) -> Iterator[sql.Composed]:
    """What makes the roles and the database. `passwords` by role, in plain or as SQL; a role that exists gets
    its password.
    """
    for role in (OWNER_ROLE, APP_ROLE, PLATFORM_ROLE):
        name, given = sql.Identifier(role), passwords[role]
        password = given if isinstance(given, sql.Composable) else sql.Literal(given)
        yield sql.SQL(
            "DO $do$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {})"
            " THEN CREATE ROLE {}; END IF; END $do$"
        ).format(sql.Literal(role), name)
        yield sql.SQL("ALTER ROLE {} WITH {} PASSWORD {}").format(name, _PLAIN, password)
    base = sql.Identifier(database)
    yield sql.SQL("CREATE DATABASE {} OWNER {}").format(base, sql.Identifier(OWNER_ROLE))
    yield sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(base)
    for role in (APP_ROLE, PLATFORM_ROLE):
        yield sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(base, sql.Identifier(role))


def make_roles(superuser_dsn: str, *, database: str, passwords: Mapping[str, str]) -> None:
    """Make them on a server; psycopg's error if it refuses, `database` must not exist."""
    with psycopg.connect(superuser_dsn, autocommit=True) as connection:
        for statement in statements(database, passwords):
            connection.execute(statement)
