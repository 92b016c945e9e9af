"""The partitions of user data: nobody passes the boundary by one, and months come and go by themselves."""

from __future__ import annotations

import calendar
import random
import time
from datetime import date

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from deployments.control.user_data.upkeep import UserDataUpkeep, term_of
from models.retention import RetentionPolicy, load_retention
from models.user_event import DataType
from serve_app.settings import read_text
from storage.postgres import user_data_months
from storage.postgres.boundary import check_boundary
from storage.postgres.config import PostgresConfig
from storage.postgres.database import Database
from storage.postgres.user_data_intake import month_of
from storage.postgres.user_data_months import Month
from tests.contracts.postgres.test_user_data_pages import put, row
from tests.support.user_data import count, login

POLICY = load_retention(read_text("config/retention.yaml"))
NOW_NS = time.time_ns()
_COUNT, _ROWS = "SELECT count(*) FROM {}", "SELECT * FROM {}"
LEAF = f"hub.user_data_trades_{month_of(NOW_NS):%Y_%m}"


def ns(year: int, month: int, day: int) -> int:
    """The beginning of a day in UTC as nanoseconds."""
    return calendar.timegm((year, month, day, 0, 0, 0)) * 10**9


def upkeep(database: Database, now_ns: int, policy: RetentionPolicy | None = POLICY) -> UserDataUpkeep:
    """The upkeep at a moment."""
    return UserDataUpkeep(database, policy, clock=lambda: now_ns, rng=random.Random(1))


async def months(database: Database) -> set[Month]:
    """The partitions there are."""
    async with database.platform() as connection:
        return set(await user_data_months.existing(connection))


@pytest.mark.parametrize("role", ["app", "platform", "owner"])
@pytest.mark.parametrize("table", [LEAF, "hub.user_data_trades"])
async def test_a_partition_that_is_asked_directly_tells_nothing(
    database: Database, postgres_config: PostgresConfig, role: str, table: str
) -> None:
    """The roles that run the hub are refused, and the owner sees no row; not even of the tenant it names."""
    await put(database, row(1, NOW_NS), row(2, NOW_NS, tenant_id="bolt"))
    with login(postgres_config, role) as connection:
        connection.execute("SELECT set_config('hub.tenant', 'acme', true)")
        if role == "owner":
            assert connection.execute(_COUNT.format(table)).fetchone() == (0,)
        else:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(_ROWS.format(table))


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT body FROM hub.user_data",
        "SELECT * FROM hub.user_data",
        "SELECT type FROM hub.user_data",
        "UPDATE hub.user_data SET tenant_id = 'bolt'",
        "DELETE FROM hub.user_data",
        "TRUNCATE hub.user_data",
        "INSERT INTO hub.user_data SELECT * FROM hub.user_data ON CONFLICT DO NOTHING RETURNING body",
    ],
)
async def test_who_moves_events_sees_no_contents(database: Database, statement: str) -> None:
    """The platform may add for any tenant and know a repeat, and nothing else."""
    await put(database, row(1, NOW_NS))
    with pytest.raises(DBAPIError, match="permission denied"):
        async with database.platform() as connection:
            await connection.execute(text(statement))


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO hub.user_data VALUES ('acme', 'u1', 'trades', 'event-01', 'opened', 1, 1, '{}')",
        "UPDATE hub.user_data SET body = '{}'",
        "SELECT * FROM hub.user_data_positions",
        "SELECT * FROM hub.user_data_quarantine",
        "SELECT hub.drop_user_data_month('trades', DATE '2021-01-01')",
        "SELECT hub.make_user_data_month('trades', DATE '2021-01-01')",
    ],
)
async def test_the_application_reads_and_erases_its_tenants_rows_alone(
    database: Database, statement: str
) -> None:
    """It makes no events up, alters none, and reaches nothing beside them."""
    await put(database, row(1, NOW_NS))
    with pytest.raises(DBAPIError, match="permission denied"):
        async with database.tenant("acme") as connection:
            await connection.execute(text(statement))


async def test_the_boundary_is_closed_with_months_that_were_made_at_run_time(
    database: Database, postgres_config: PostgresConfig
) -> None:
    """What the hub checks at its start still holds after partitions were added."""
    await put(database, row(1, NOW_NS))
    await check_boundary(postgres_config)


async def test_the_roll_over_at_the_end_of_a_month_is_made_ahead(database: Database) -> None:
    """On the last second of a month its successor is there; both sides of midnight land in their own."""
    last = ns(2026, 11, 1) - 10**9
    await upkeep(database, last).once()
    made = await months(database)
    assert {
        Month(kind, first) for kind in DataType for first in (date(2026, 10, 1), date(2026, 11, 1))
    } <= made

    await put(database, row(1, ns(2026, 11, 1) - 1), row(2, ns(2026, 11, 1)))

    assert await months(database) == made
    assert await count(database) == 2


@pytest.mark.parametrize(
    ("first", "after"),
    [(date(2023, 12, 1), date(2024, 1, 1)), (date(2024, 2, 1), date(2024, 3, 1))],
)
async def test_a_month_ends_where_the_next_begins(database: Database, first: date, after: date) -> None:
    """At the end of a year and in a leap year, to the nanosecond."""
    edge = calendar.timegm(after.timetuple()) * 10**9
    await put(database, row(1, edge - 1), row(2, edge))
    assert {one.first for one in await months(database)} == {first, after}


@pytest.mark.parametrize("month", ["2019-12-01", "2026-10-02", "2199-01-01"])
async def test_a_month_that_cannot_be_is_not_made(database: Database, month: str) -> None:
    """Nor one of a type that there is not, however it is spelt."""
    async with database.platform() as connection:
        with pytest.raises(DBAPIError):
            await connection.execute(text(f"SELECT hub.make_user_data_month('trades', DATE '{month}')"))
    for kind in ("trade", "trades_2026_10", "trades; DROP TABLE hub.users", "x' || 'y"):
        for verb in ("make", "drop"):
            asked = text(f"SELECT hub.{verb}_user_data_month(:kind, DATE '2021-01-01')")
            async with database.platform() as connection:
                with pytest.raises(DBAPIError, match="no data type"):
                    await connection.execute(asked, {"kind": kind})


async def test_a_month_goes_when_the_last_rule_that_keeps_it_has_ended(database: Database) -> None:
    """Trades are kept five years from their day by the policy, settings a year; not a day less."""
    await put(database, row(1, ns(2021, 10, 31)), kind=DataType.TRADES)
    await put(database, row(1, ns(2025, 10, 31)), kind=DataType.SETTINGS)
    old = {Month(DataType.TRADES, date(2021, 10, 1)), Month(DataType.SETTINGS, date(2025, 10, 1))}

    await upkeep(database, ns(2026, 10, 31) - 1).once()
    assert old <= await months(database)
    assert await count(database) == 2
    assert set(await upkeep(database, ns(2026, 10, 31)).once()) == old
    assert not old & await months(database)
    assert await count(database) == 0


async def test_without_a_policy_nothing_is_dropped(database: Database) -> None:
    """Who has not said how long, keeps."""
    await put(database, row(1, ns(2020, 1, 1)))
    assert await upkeep(database, NOW_NS, None).once() == []
    assert await count(database) == 1


async def test_this_month_and_the_last_are_never_dropped(database: Database) -> None:
    """Whatever a policy or a clock says: the database refuses."""
    this = month_of(NOW_NS)
    await put(database, row(1, NOW_NS))
    async with database.platform() as connection:
        with pytest.raises(DBAPIError, match="never dropped"):
            await user_data_months.drop(connection, Month(DataType.TRADES, this))


def test_of_several_rules_the_last_to_end_decides() -> None:
    """One that counts from the closure of an account ends never, as far as the hub can know."""

    def policy(*profile: str) -> RetentionPolicy:
        return POLICY.model_copy(update={"profile": profile})

    day = date(2024, 2, 29)
    kept = {
        ("mifir-25-orders",): (DataType.TRADES, date(2029, 3, 1)),
        ("hgb-257-ao-147-books", "tenant-policy-account"): (DataType.TRANSACTIONS, date(2035, 1, 1)),
        ("finra-4511-default",): (DataType.AUTH, None),
        ("mifir-25-orders", "sec-17a-4-a-ledgers"): (DataType.TRADES, date(2030, 3, 1)),
    }
    for profile, (kind, until) in kept.items():
        assert term_of(policy(*profile), kind, day).until == until, profile
    assert term_of(POLICY, DataType.BACKTESTS, day) == (date(2025, 3, 1), None)


async def test_events_of_a_tenant_that_was_deleted_meanwhile_are_swept(database: Database) -> None:
    """Rows whose transaction overlapped the deletion do not stay."""
    async with database.tenant("gone") as connection:
        await connection.execute(
            text(
                "INSERT INTO hub.tenants (tenant_id, name, tier, status, entitled_until_ns, created_ns,"
                " changed_ns, version) VALUES ('gone', 'gone', 'free', 'deleted', 1, 1, :now, 1)"
            ),
            {"now": NOW_NS},
        )
    await put(database, row(1, NOW_NS, tenant_id="gone"), row(2, NOW_NS))

    await upkeep(database, NOW_NS).once()

    assert (await count(database, "gone"), await count(database)) == (0, 1)
