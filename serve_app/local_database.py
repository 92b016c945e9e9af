"""The bundled PostgreSQL, made ready: roles with passwords of this run, and the newest schema."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

from models.secret import SecretRef
from serve_app.servers.postgres import SUPERUSER, PostgresProcess
from storage.postgres.config import APP_ROLE, OWNER_ROLE, PLATFORM_ROLE, Login, PostgresConfig
from storage.postgres.migrate import migrate
from storage.postgres.roles import make_roles

DATABASE: Final = "hub"
_ROLES: Final = (OWNER_ROLE, APP_ROLE, PLATFORM_ROLE)


def local_database(server: PostgresProcess, directory: Path) -> PostgresConfig:
    """How the hub logs in to this server; passwords lie in the directory, for this user's eyes only."""
    passwords = {role: _new_password(directory / f"{role}-password") for role in _ROLES}
    superuser = server.home.password_file.read_text()
    dsn = f"postgresql://{SUPERUSER}:{superuser}@{server.address}/postgres"
    make_roles(dsn, database=DATABASE, passwords=passwords)
    config = PostgresConfig(
        address=server.address,
        database=DATABASE,
        app=_login(directory, APP_ROLE),
        platform=_login(directory, PLATFORM_ROLE),
        owner=_login(directory, OWNER_ROLE),
    )
    migrate(config)
    return config


def _new_password(path: Path) -> str:
    path.touch(mode=0o600)
    path.write_text(secrets.token_hex(32))
    return path.read_text()


def _login(directory: Path, role: str) -> Login:
    return Login(role=role, password=SecretRef(file=str(directory / f"{role}-password")))
