"""`hub database` by hand, on a real server."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from typer.testing import CliRunner

from models.errors import ConfigError
from serve_app.cli import app
from storage.postgres.config import APP_ROLE, OWNER_ROLE, PLATFORM_ROLE, Login, PostgresConfig
from tests.support.postgres import PostgresServer

ROLES = (OWNER_ROLE, APP_ROLE, PLATFORM_ROLE)


@pytest.fixture
def empty(postgres_run: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresConfig]:
    """A database that was never migrated, named in the environment."""
    with postgres_run.clone("template1") as config:
        monkeypatch.setenv("HUB_POSTGRES", config.model_dump_json())
        yield config


def _said(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["database", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_a_database_is_migrated_and_found_closed(empty: PostgresConfig) -> None:
    """Before that the check says what to run; migrating twice changes nothing."""
    with pytest.raises(ConfigError, match="run `hub database migrate`"):
        _said("check")

    assert _said("migrate") == _said("migrate")
    assert "the boundary between tenants is closed" in _said("check")


def test_an_open_boundary_is_told_with_what_closes_it(
    empty: PostgresConfig, postgres_run: PostgresServer
) -> None:
    """In the error's text, which is what a person at the terminal sees."""
    _said("migrate")
    with psycopg.connect(postgres_run.dsn(empty.database), autocommit=True) as admin:
        admin.execute("ALTER TABLE hub.users NO FORCE ROW LEVEL SECURITY")

    with pytest.raises(ConfigError, match=r"ALTER TABLE hub\.users FORCE ROW LEVEL SECURITY") as caught:
        _said("check")
    assert caught.value.field == "postgres"


def test_the_sql_for_an_administrator_holds_no_password_unless_asked(
    empty: PostgresConfig, postgres_run: PostgresServer
) -> None:
    """Variables of psql stand for them; with the option the words themselves do."""
    words = [(postgres_run.passwords / role).read_text() for role in ROLES]

    plain, telling = _said("sql"), _said("sql", "--with-passwords")

    assert not [word for word in words if word in plain]
    assert [word for word in words if f"PASSWORD '{word}'" in telling] == words
    for role in ROLES:
        assert f"PASSWORD :'{role}_password';" in plain
    assert f'CREATE DATABASE "{empty.database}" OWNER "hub_owner";' in plain


def test_a_password_that_nobody_named_is_missed_by_its_field(
    empty: PostgresConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the file can be mended."""
    without = empty.model_copy(update={"platform": Login(role=PLATFORM_ROLE)})
    monkeypatch.setenv("HUB_POSTGRES", without.model_dump_json())

    with pytest.raises(ConfigError, match=r"postgres\.platform\.password is missing"):
        _said("sql", "--with-passwords")


@pytest.mark.parametrize("command", ["migrate", "check", "sql"])
def test_settings_without_a_database_are_refused(command: str) -> None:
    """The default file names none."""
    with pytest.raises(ConfigError, match="the settings name no PostgreSQL"):
        _said(command)
