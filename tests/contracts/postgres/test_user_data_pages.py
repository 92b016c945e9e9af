"""Reading user data by page, taking it out whole, and erasing it."""

from __future__ import annotations

import json
import random
import time

import pytest
from sqlalchemy import text

from deployments.control.user_data.desk import export_tenant, export_user
from models.errors import BadValue
from models.user_event import DataType
from storage.postgres import user_data, user_data_intake, user_data_months
from storage.postgres.config import PostgresConfig
from storage.postgres.database import Database
from storage.postgres.user_data import Cursor, Owner, Window
from storage.postgres.user_data_intake import EventRow
from storage.postgres.user_data_months import Month
from tests.support.user_data import count, login

DAY_NS = 86_400 * 10**9
OWNER = Owner("acme", "u1")


def row(number: int, at_ns: int, *, tenant_id: str = "acme", user_id: str = "u1") -> EventRow:
    """An event of its own."""
    return EventRow(tenant_id, user_id, f"event-{number:06}", "opened", at_ns, at_ns, f'{{"n":{number}}}')


async def put(database: Database, *rows: EventRow, kind: DataType = DataType.TRADES) -> None:
    """Store them, with their months."""
    async with database.platform() as connection:
        await user_data_months.make(connection, {Month(kind, one.month) for one in rows})
        await user_data_intake.add(connection, kind, rows)


async def read(database: Database, window: Window, owner: Owner = OWNER) -> list[str]:
    """The ids of a page."""
    async with database.tenant(owner.tenant_id) as connection:
        found = await user_data.page(connection, owner, DataType.TRADES, window)
    return [one.event_id for one in found]


async def walk(database: Database, *, limit: int, between: list[EventRow]) -> list[str]:
    """All pages one after the other; before each, some more events come in."""
    window, seen = Window(limit=limit), list[str]()
    while True:
        async with database.tenant(OWNER.tenant_id) as connection:
            found = await user_data.page(connection, OWNER, DataType.TRADES, window)
        seen += [one.event_id for one in found]
        if len(found) < limit:
            return seen
        window = window._replace(cursor=Cursor(found[-1].at_ns, found[-1].event_id))
        await put(database, *between[:20])
        del between[:20]


async def test_pages_hold_every_event_once_while_others_come_in(database: Database) -> None:
    """Over three months, ties of time included: what was there at the beginning comes once and in order,
    whatever is added before, among and behind it.
    """
    now_ns, draw = time.time_ns(), random.Random(3)
    there = [row(n, now_ns - draw.randrange(80) * DAY_NS) for n in range(300)]
    later = [row(1_000 + n, now_ns - draw.randrange(80) * DAY_NS) for n in range(300)]
    await put(database, *there)

    seen = await walk(database, limit=17, between=later)

    known = {one.event_id: one for one in there}
    assert len(seen) == len(set(seen))
    ordered = sorted(there, key=lambda one: (one.at_ns, one.event_id))
    assert [one for one in seen if one in known] == [one.event_id for one in ordered]


async def test_a_window_begins_with_its_first_moment_and_ends_before_its_last(database: Database) -> None:
    """And holds nobody else's events, whatever is asked."""
    now_ns = time.time_ns()
    await put(database, *(row(n, now_ns + n) for n in range(10)), row(77, now_ns, user_id="u2"))
    await put(database, row(78, now_ns, tenant_id="bolt"))

    assert await read(database, Window(now_ns + 2, now_ns + 5)) == [f"event-{n:06}" for n in (2, 3, 4)]
    assert await read(database, Window(), Owner("acme", "u2")) == ["event-000077"]
    assert await read(database, Window(), Owner("bolt", "u1")) == ["event-000078"]
    assert await read(database, Window(), Owner("bolt", "u2")) == []
    async with database.tenant("acme") as connection:
        foreign = await user_data.page(connection, Owner("bolt", "u1"), DataType.TRADES, Window())
    assert list(foreign) == []


async def test_a_page_costs_what_it_holds(database: Database, postgres_config: PostgresConfig) -> None:
    """It is read in the order of the index, of the months of its window, and of no other rows."""
    now_ns = time.time_ns()
    await put(database, *(row(n, now_ns - n * DAY_NS // 20) for n in range(3_000)))
    with login(postgres_config, "owner") as owner:
        owner.execute("ANALYZE hub.user_data")
    low = now_ns - 20 * DAY_NS
    async with database.tenant("acme") as connection:
        asked = text(
            "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF)"
            " SELECT * FROM hub.user_data WHERE tenant_id = 'acme' AND user_id = 'u1'"
            " AND data_type = 'trades' AND at_ns >= :low AND at_ns < :high"
            " AND (at_ns, event_id) > (:low, '') ORDER BY at_ns, event_id LIMIT 50"
        )
        explained = await connection.execute(asked, {"low": low, "high": now_ns})
        plan = "\n".join(line for (line,) in explained)
    assert "Seq Scan" not in plan, plan
    assert "Sort" not in plan, plan
    assert "Rows Removed" not in plan, plan


@pytest.mark.parametrize(
    "word",
    ["", "x", "e30", "W10", "WzEsMl0", "WyIxIiwieCJd", "Wy0xLCJhIl0", "WzEsIlx1MDAwMCJd", "ä", "A" * 190],
)
def test_a_cursor_that_was_made_up_is_refused(word: str) -> None:
    """By name of its field, whatever it is."""
    with pytest.raises(BadValue) as refused:
        Cursor.parse(word)
    assert refused.value.field == "cursor"


def test_a_cursor_is_what_it_was() -> None:
    """Also at the ends of its range."""
    for at_ns in (0, 2**63 - 1):
        assert Cursor.parse(str(Cursor(at_ns, "event-01"))) == Cursor(at_ns, "event-01")


async def test_an_export_is_everything_of_its_owner_and_nothing_else(database: Database) -> None:
    """More than one read's worth of several users and types; each line is JSON and says whose it is."""
    now_ns = time.time_ns()
    await put(database, *(row(n, now_ns - n) for n in range(1_200)))
    await put(database, *(row(n, now_ns - n, user_id="u2") for n in range(30)), kind=DataType.AUTH)
    await put(database, *(row(n, now_ns - n, tenant_id="bolt") for n in range(7)))

    user = [json.loads(line) async for line in export_user(database, "acme", "u1")]
    tenant = [json.loads(line) async for line in export_tenant(database, "acme")]

    assert len({line["event"]["event_id"] for line in user}) == len(user) == 1_200
    assert {line["event"]["user_id"] for line in user} == {"u1"}
    assert len(tenant) == 1_230
    assert {line["event"]["tenant_id"] for line in tenant} == {"acme"}
    assert {line["data_type"] for line in tenant} == {"trades", "auth"}


async def test_what_is_erased_is_gone_and_others_stay(database: Database) -> None:
    """One user's, of the types that were named; then all of the tenant's."""
    now_ns = time.time_ns()
    for kind in (DataType.TRADES, DataType.AUTH):
        await put(database, row(1, now_ns), row(2, now_ns, user_id="u2"), kind=kind)
    await put(database, row(3, now_ns, tenant_id="bolt"))

    async with database.tenant("acme") as connection:
        erased = await user_data.erase_user(connection, "acme", "u1", [DataType.AUTH])
        foreign = await user_data.erase_user(connection, "bolt", "u1", list(DataType))
    assert erased == {DataType.AUTH: 1}
    assert sum(foreign.values()) == 0
    assert (await count(database), await count(database, "bolt")) == (3, 1)

    async with database.tenant("acme") as connection:
        assert await user_data.erase_tenant(connection, "acme") == 3
    assert (await count(database), await count(database, "bolt")) == (0, 1)
