"""A real PostgreSQL for tests: one server a run, the schema migrated once, a copy of it for every test."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from models.secret import SecretRef
from serve_app.servers.postgres import SUPERUSER, PostgresProcess, postgres
from storage.postgres.config import APP_ROLE, OWNER_ROLE, PLATFORM_ROLE, Login, PostgresConfig
from storage.postgres.migrate import migrate
from storage.postgres.roles import make_roles
from tests.support.sockets import close_sockets

TEMPLATE = "hub_template"


@dataclass(frozen=True)
class PostgresServer:
    """A server with the roles and a migrated template database."""

    process: PostgresProcess
    passwords: Path

    def dsn(self, database: str = "postgres") -> str:
        """How the superuser logs in: only tests and administrators do."""
        password = self.process.home.password_file.read_text()
        return f"postgresql://{SUPERUSER}:{password}@{self.process.address}/{database}"

    def config(self, database: str) -> PostgresConfig:
        """How the hub logs in."""
        return PostgresConfig(
            address=self.process.address,
            database=database,
            app=self._login(APP_ROLE),
            platform=self._login(PLATFORM_ROLE),
            owner=self._login(OWNER_ROLE),
        )

    @contextmanager
    def clone(self, template: str = TEMPLATE) -> Iterator[PostgresConfig]:
        """A database of its own, as the template is; gone with the block."""
        name = f"test_{secrets.token_hex(6)}"
        self._ask("CREATE DATABASE {} TEMPLATE {} OWNER {}", name, template, OWNER_ROLE)
        self._ask("REVOKE ALL ON DATABASE {} FROM PUBLIC", name)
        self._ask("GRANT CONNECT ON DATABASE {} TO {}, {}", name, APP_ROLE, PLATFORM_ROLE)
        try:
            yield self.config(name)
        finally:
            self._drop(name)

    def _login(self, role: str) -> Login:
        return Login(role=role, password=SecretRef(file=str(self.passwords / role)))

    def _drop(self, name: str) -> None:
        """The server would wait a minute for whoever was cancelled while it logged in, wherever that was."""
        try:
            self._ask("DROP DATABASE {} WITH (FORCE)", name, options="-c statement_timeout=2000")
        except psycopg.errors.QueryCanceled:
            close_sockets()
            self._ask("DROP DATABASE {} WITH (FORCE)", name)

    def _ask(self, statement: str, *names: str, options: str = "") -> None:
        with psycopg.connect(self.dsn(), autocommit=True, options=options) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@contextmanager
def postgres_server(directory: Path, *, durable: bool = False) -> Iterator[PostgresServer]:
    """The server, for as long as the block lasts. Benchmarks ask for one that syncs what it commits."""
    process = postgres(directory, durable=durable)
    process.start()
    try:
        process.wait_ready()
        server = PostgresServer(process, directory)
        for role in (OWNER_ROLE, APP_ROLE, PLATFORM_ROLE):
            (directory / role).write_text(secrets.token_hex(16))
        words = {role: (directory / role).read_text() for role in (OWNER_ROLE, APP_ROLE, PLATFORM_ROLE)}
        make_roles(server.dsn(), database=TEMPLATE, passwords=words)
        migrate(server.config(TEMPLATE))
        yield server
    finally:
        process.stop()
