"""`hub database migrate|check|sql`: prepare one's own PostgreSQL, and see that it keeps tenants apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.errors import ConfigError

if TYPE_CHECKING:
    from psycopg.sql import Composable

    from models.secret import SecretRef
    from storage.postgres.config import PostgresConfig

app = typer.Typer(
    no_args_is_help=True,
    help="Prepare PostgreSQL. In this order: `sql` once, `migrate` with each release, `check` at any time.",
)

Config = Annotated[
    Path | None, typer.Option(help="Settings file; default config/hub.yaml and HUB_* variables.")
]
WithPasswords = Annotated[
    bool, typer.Option("--with-passwords", help="Print the passwords that the settings name, in plain.")
]


@app.command()
def migrate(config: Config = None) -> None:
    """Bring the schema to the newest revision, as the owner of the tables. All of it happens, or nothing."""
    from storage.postgres.migrate import migrate as run
    from storage.postgres.migrate import newest

    postgres = _postgres(config)
    run(postgres)
    typer.echo(f"the schema of {_named(postgres)} is {newest()}")


@app.command()
def check(config: Config = None) -> None:
    """Look whether tenants are kept apart; an error names all that is open, and the SQL that closes it."""
    import asyncio

    from storage.postgres.boundary import check_boundary

    postgres = _postgres(config)
    asyncio.run(check_boundary(postgres))
    typer.echo(f"the boundary between tenants is closed in {_named(postgres)}")


@app.command(name="sql")
def show_sql(config: Config = None, *, with_passwords: WithPasswords = False) -> None:
    """Print what an administrator of the server runs once: three roles and the database.

    Passwords stay psql variables, unless you ask for them.
    """
    from storage.postgres.roles import statements

    postgres = _postgres(config)
    passwords = dict(_resolved(postgres)) if with_passwords else _variables()
    if not with_passwords:
        given = " ".join(f"-v {name}_password=..." for name in passwords)
        typer.echo(f"-- hub database sql | psql -U postgres {given}")
    for statement in statements(postgres.database, passwords):
        typer.echo(f"{statement.as_string()};")


def _variables() -> Mapping[str, Composable]:
    from psycopg.sql import SQL

    from storage.postgres.config import APP_ROLE, OWNER_ROLE, PLATFORM_ROLE

    return {role: SQL(f":'{role}_password'") for role in (OWNER_ROLE, APP_ROLE, PLATFORM_ROLE)}


def _resolved(postgres: PostgresConfig) -> Iterator[tuple[str, str]]:
    from storage.postgres.config import APP_ROLE, OWNER_ROLE, PLATFORM_ROLE

    owner = postgres.owner.password if postgres.owner else None
    yield OWNER_ROLE, _needed("owner", owner).resolve()
    yield APP_ROLE, _needed("app", postgres.app.password).resolve()
    yield PLATFORM_ROLE, _needed("platform", postgres.platform.password).resolve()


def _needed(field: str, password: SecretRef | None) -> SecretRef:
    if password is None:
        raise ConfigError(
            f"postgres.{field}.password is missing: name where it is, {{env: NAME}} or {{file: PATH}}",
            field=f"postgres.{field}.password",
        )
    return password


def _postgres(config: Path | None) -> PostgresConfig:
    from serve_app.settings import load_settings

    postgres = load_settings(config).postgres
    if postgres is None:
        raise ConfigError(
            "the settings name no PostgreSQL: give `postgres` an address (config/hub.yaml has an example)",
            field="postgres",
        )
    return postgres


def _named(postgres: PostgresConfig) -> str:
    return f"{postgres.database} on {postgres.address}"
