"""The check at start-up: every hole, planted in a real database, is named, and its SQL closes it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest

from models.errors import ConfigError
from models.secret import SecretRef
from storage.postgres.boundary import check_boundary
from storage.postgres.config import Login, PostgresConfig
from storage.postgres.rules import logins
from tests.contracts.postgres.holes import HOLES, OWN_ROWS, Planted
from tests.support.postgres import PostgresServer


@dataclass(frozen=True)
class Site:
    """A database whose application logs in by a role of its own, and its administrator."""

    config: PostgresConfig
    login: str
    admin: psycopg.Connection[tuple[object, ...]]

    def run(self, statements: str) -> None:
        """Each statement by itself: some must not stand in a transaction."""
        for statement in filter(None, map(str.strip, statements.split(";"))):
            self.admin.execute(self.filled(statement).encode())

    def filled(self, template: str) -> str:
        names = {"{login}": self.login, "{via}": f"{self.login}_via", "{database}": self.config.database}
        for name, value in names.items():
            template = template.replace(name, value)
        return template

    async def told(self) -> list[str]:
        """What the check refuses the database for."""
        try:
            await check_boundary(self.config)
        except ConfigError as error:
            return list(error.details.get("holes", [error.message]))
        return []


@pytest.fixture
def site(postgres_run: PostgresServer, tmp_path: Path) -> Iterator[Site]:
    """A database of the test's own, as the migrations leave it."""
    login, password = f"app_{secrets.token_hex(4)}", tmp_path / "password"
    password.write_text(secrets.token_hex(8))
    with (
        postgres_run.clone() as config,
        psycopg.connect(postgres_run.dsn(config.database), autocommit=True) as admin,
    ):
        app = Login(role=login, password=SecretRef(file=str(password)))
        site = Site(config.model_copy(update={"app": app}), login, admin)
        site.run(f"CREATE ROLE {{login}} LOGIN PASSWORD '{password.read_text()}' IN ROLE hub_app")
        site.run("GRANT CONNECT ON DATABASE {database} TO {login}")
        try:
            yield site
        finally:
            for role in (login, f"{login}_via_2", f"{login}_via"):
                if admin.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchone():
                    site.run(f"REASSIGN OWNED BY {role} TO postgres; DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_database_as_the_migrations_leave_it_passes(
    postgres_config: PostgresConfig, site: Site
) -> None:
    """The hub's own roles, and one of the administrator's that is given theirs."""
    await check_boundary(postgres_config)

    assert await site.told() == []


@pytest.mark.parametrize("hole", HOLES, ids=str)
async def test_a_hole_is_named_and_its_sql_closes_it(hole: Planted, site: Site) -> None:
    """Planted by an administrator; found by the check, and closed by what it says."""
    site.run(hole.sql)

    found = await site.told()

    assert any(site.filled(hole.told) in one for one in found), found
    for one in found:
        site.run(one.partition("; to close it: ")[2])
    assert await site.told() == []


async def test_what_closes_nothing_is_not_taken_for_a_hole(site: Site) -> None:
    """A view that reads as its reader, policies that narrow or are others', tables that are not the hub's."""
    site.run(
        "CREATE VIEW hub.people WITH (security_invoker = on) AS SELECT * FROM hub.users;"
        "CREATE POLICY narrow ON hub.users AS RESTRICTIVE FOR DELETE TO hub_app USING (login <> 'root');"
        "CREATE POLICY others ON hub.users TO hub_owner USING (true);"
        "CREATE TABLE public.stock (x int); CREATE VIEW public.shelf AS SELECT * FROM public.stock"
    )
    site.run(f"CREATE POLICY again ON hub.users FOR SELECT TO hub_app USING ({OWN_ROWS})")

    assert await site.told() == []


@pytest.mark.parametrize(
    ("planted", "told"),
    [
        ("UPDATE hub.alembic_version SET version_num = '0001'", "is 0001 and this release needs"),
        ("DELETE FROM hub.alembic_version", "is missing and this release needs"),
        ("UPDATE hub.alembic_version SET version_num = '9999'", "run `hub database migrate`"),
        ("REVOKE SELECT ON hub.alembic_version FROM hub_app", "may not read the schema's revision"),
    ],
)
async def test_a_schema_of_another_release_is_refused(planted: str, told: str, site: Site) -> None:
    """Older, none, newer, and one that cannot be asked."""
    site.run(planted)

    (message,) = await site.told()

    assert told in message


async def test_the_platform_s_role_is_looked_at_too(site: Site, postgres_run: PostgresServer) -> None:
    """A role that reads across tenants has no more power than that."""
    site.run("REVOKE hub_app FROM {login}; GRANT hub_platform TO {login}; ALTER ROLE {login} BYPASSRLS")
    swapped = Site(
        postgres_run.config(site.config.database).model_copy(update={"platform": site.config.app}),
        site.login,
        site.admin,
    )

    found = await swapped.told()

    assert found == [f"the role {site.login} is BYPASSRLS; to close it: ALTER ROLE {site.login} NOBYPASSRLS"]


def test_a_server_that_knows_no_invoker_views_is_refused() -> None:
    """PostgreSQL 14: there is none here to plant it in."""
    row = SimpleNamespace(login="a", database="b", row_security="on", tenant="", version=140_012)

    (hole,) = logins.SETTINGS.holes(row)

    assert "PostgreSQL 14" in hole.what
