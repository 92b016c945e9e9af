"""Row-level security as the application meets it, through the real pool: known ways around it are tried."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from models.errors import Forbidden
from storage.postgres.config import PostgresConfig
from storage.postgres.database import Database, engine
from storage.postgres.tables.people import USERS
from tests.support.postgres import PostgresServer
from tests.support.two_tenants import CANARY, refused

TABLES_OF_TENANTS = text(
    "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'"
    " WHERE c.relnamespace = 'hub'::regnamespace AND c.relkind IN ('r', 'p')"
    " AND has_table_privilege(c.oid, 'SELECT')"
)


async def _seen(connection: AsyncConnection) -> Sequence[str]:
    rows = await connection.execute(select(USERS.c.tenant_id).order_by(USERS.c.tenant_id))
    return rows.scalars().all()


async def test_a_transaction_sees_its_own_tenant_alone(two_tenants: Database) -> None:
    """Two tenants, one pool: each sees one row, the platform both."""
    async with two_tenants.tenant("acme") as connection:
        seen = await _seen(connection)
    async with two_tenants.reading("bolt") as connection:
        read = await _seen(connection)
    async with two_tenants.platform() as connection:
        every = await _seen(connection)

    assert list(seen) == ["acme"]
    assert list(read) == ["bolt"]
    assert list(every) == ["acme", "bolt"]


async def test_without_a_tenant_no_table_shows_a_row(two_tenants: Database) -> None:
    """Every table of tenants that the application may read, asked by a connection that has served one."""
    async with two_tenants.tenant("acme") as connection:
        assert await _seen(connection) == ["acme"]
    async with two_tenants._app.begin() as connection:
        tables = await connection.execute(TABLES_OF_TENANTS)
        names = tables.scalars().all()
        counts = [await connection.scalar(text(f'SELECT count(*) FROM hub."{name}"')) for name in names]  # noqa: S608

    assert {"tenants", "users", "sessions"} <= set(names)
    assert counts == [0] * len(names)


async def test_nothing_is_begun_for_a_tenant_without_a_name(database: Database) -> None:
    """An empty name is what a forgotten variable holds."""
    with pytest.raises(Forbidden):
        async with database.tenant(""):
            pass
    with pytest.raises(Forbidden):
        async with database.reading(""):
            pass


async def test_a_tenant_that_was_set_for_the_session_leaks_into_no_other(
    two_tenants: Database, postgres_config: PostgresConfig
) -> None:
    """A plain SET survives in the pool's only connection; each transaction sets its own tenant over it."""
    database = Database(postgres_config.model_copy(update={"pool_size": 1}))
    async with database.tenant("acme") as connection:
        await connection.execute(text("SET hub.tenant = 'acme'"))

    async with database.tenant("bolt") as connection:
        seen = await _seen(connection)
    async with database.reading("nobody") as connection:
        none = await _seen(connection)
    async with database._app.begin() as connection:
        leaked = await _seen(connection)
    await database.close()

    assert list(seen) == ["bolt"]
    assert list(none) == []
    assert list(leaked) == ["acme"]  # the fault is real: only a transaction that names a tenant is safe


@pytest.mark.parametrize(
    "way", ["SET LOCAL hub.tenant = 'acme'", "SELECT set_config('hub.tenant', 'acme', true)"]
)
async def test_a_tenant_set_outside_a_transaction_holds_for_nothing(
    way: str, two_tenants: Database, postgres_config: PostgresConfig
) -> None:
    """Where every statement is a transaction of its own, the next one sees nobody's rows."""
    pool = engine(postgres_config, postgres_config.app).execution_options(isolation_level="AUTOCOMMIT")
    async with pool.connect() as connection:
        await connection.execute(text(way))
        seen = await _seen(connection)
    await pool.dispose()

    assert list(seen) == []


async def test_a_view_shows_what_its_reader_may_see_only_as_invoker(
    two_tenants: Database, postgres_config: PostgresConfig, postgres_run: PostgresServer
) -> None:
    """The administrator's ordinary view leaks, and is why the check at start-up refuses one."""
    with psycopg.connect(postgres_run.dsn(postgres_config.database), autocommit=True) as admin:
        admin.execute("CREATE VIEW hub.people AS SELECT tenant_id FROM hub.users")
        admin.execute("GRANT SELECT ON hub.people TO hub_app")
        async with two_tenants.tenant("acme") as connection:
            ordinary = (await connection.execute(text("SELECT * FROM hub.people ORDER BY 1"))).scalars().all()
        admin.execute("ALTER VIEW hub.people SET (security_invoker = true)")
        async with two_tenants.tenant("acme") as connection:
            invoker = (await connection.execute(text("SELECT * FROM hub.people"))).scalars().all()

    assert list(ordinary) == ["acme", "bolt"]
    assert list(invoker) == ["acme"]


async def test_not_even_the_owner_sees_rows_without_a_tenant(
    two_tenants: Database, postgres_config: PostgresConfig, postgres_run: PostgresServer
) -> None:
    """FORCE binds the owner, who has no policy at all; without it the same query shows everybody."""
    owner = postgres_config.owner
    assert owner is not None
    pool = engine(postgres_config, owner)
    async with pool.begin() as connection:
        await connection.execute(text("SELECT set_config('hub.tenant', 'acme', true)"))
        forced = await _seen(connection)
    with psycopg.connect(postgres_run.dsn(postgres_config.database), autocommit=True) as admin:
        admin.execute("ALTER TABLE hub.users NO FORCE ROW LEVEL SECURITY")
    async with pool.begin() as connection:
        unforced = await _seen(connection)
    await pool.dispose()

    assert list(forced) == []
    assert list(unforced) == ["acme", "bolt"]


@pytest.mark.parametrize(
    ("statement", "state"),
    [
        ("SET ROLE hub_owner", "42501"),
        ("SET ROLE hub_platform", "42501"),
        ("SET SESSION AUTHORIZATION hub_owner", "42501"),
        ("SET session_replication_role = replica", "42501"),
        ("ALTER TABLE hub.users DISABLE ROW LEVEL SECURITY", "42501"),
        ("DROP POLICY own_rows ON hub.users", "42501"),
        ("CREATE POLICY all_mine ON hub.users USING (true)", "42501"),
        ("TRUNCATE hub.users CASCADE", "42501"),
        ("CREATE TEMPORARY TABLE users (x int)", "42501"),
        ("CREATE TABLE hub.mine AS SELECT * FROM hub.users", "42501"),
        ("CREATE VIEW public.mine AS SELECT * FROM hub.users", "42501"),
        ("CREATE FUNCTION hub.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "42501"),
        ("COPY hub.users TO '/tmp/users'", "42501"),
        ("SELECT * FROM hub.signing_keys", "42501"),
        ("SELECT pg_read_file('postgresql.conf')", "42501"),
        ("COPY hub.users FROM STDIN", "0A000"),
    ],
)
async def test_what_would_lead_past_the_boundary_isrefused(
    statement: str, state: str, two_tenants: Database
) -> None:
    """As the application, in a transaction of its tenant."""
    await refused(two_tenants, state, statement)


async def test_row_security_off_gives_an_error_and_no_rows(two_tenants: Database) -> None:
    """The switch asks for an error instead of a filter; it is no way around."""
    error = await refused(two_tenants, "42501", "SET LOCAL row_security = off", select(USERS))

    assert "row-level security" in str(error)


@pytest.mark.parametrize("what", ["hub.users", "(SELECT * FROM hub.users)"])
async def test_a_copy_holds_own_rows_alone(what: str, two_tenants: Database) -> None:
    """COPY reads by another way than SELECT does."""
    async with two_tenants.tenant("acme") as connection:
        raw = await connection.get_raw_connection()
        driver = raw.driver_connection
        assert driver is not None
        async with driver.cursor() as cursor, cursor.copy(f"COPY {what} TO STDOUT") as copy:
            lines = [bytes(line) async for line in copy]

    assert len(lines) == 1
    assert CANARY.encode() not in lines[0]


async def test_statistics_show_no_values(
    two_tenants: Database, postgres_config: PostgresConfig, postgres_run: PostgresServer
) -> None:
    """The planner's most common values are rows of everybody: the view on them leaves guarded tables out."""
    with psycopg.connect(postgres_run.dsn(postgres_config.database), autocommit=True) as admin:
        admin.execute("ANALYZE hub.users")
        known = admin.execute("SELECT count(*) FROM pg_stats WHERE tablename = 'users'").fetchone()
    async with two_tenants.tenant("acme") as connection:
        seen = await connection.scalar(text("SELECT count(*) FROM pg_stats WHERE tablename = 'users'"))

    assert known
    assert known[0] > 0
    assert seen == 0
