"""Many tenants at once over a small pool, cancelled at any moment: a connection remembers nobody."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import insert, select, text, update

from storage.postgres.config import PostgresConfig
from storage.postgres.database import Database
from storage.postgres.tables.people import TENANTS, USERS
from tests.support.rows import tenant_row, user_row

TENANT_NAMES = [f"tenant-{number:02}" for number in range(50)]
TRANSACTIONS = 10_000
AT_ONCE = 40
CANCELLED = 0.2
LONGEST_S = 0.02

Look = Callable[[Database, str, Counter[str]], Awaitable[None]]


async def _look(database: Database, tenant: str, found: Counter[str]) -> None:
    """Write to all rows there are, and count whose rows came back."""
    async with database.tenant(tenant) as connection:
        await connection.execute(update(USERS).values(name=tenant))
        rows = await connection.execute(select(USERS.c.tenant_id, USERS.c.login))
        for owner, login in rows:
            found["own" if owner == tenant and login == tenant else "foreign"] += 1


async def _look_by_plain_set(database: Database, tenant: str, found: Counter[str]) -> None:
    """As a naive application would: a SET for the session, and every other reader relies on it."""
    async with database._app.connect() as connection:
        if tenant in TENANT_NAMES[:25]:
            await connection.execute(text(f"SET hub.tenant = '{tenant}'"))
            await connection.commit()
        owners = (await connection.execute(select(USERS.c.tenant_id))).scalars()
        found.update("own" if owner == tenant else "foreign" for owner in owners)


async def _storm(database: Database, look: Look, *, transactions: int) -> Counter[str]:
    """What was found by so many transactions of random tenants, a fifth of them cancelled on the way."""
    rng, found, left = random.Random(7), Counter[str](), iter(range(transactions))

    async def caller() -> None:
        for _ in left:
            task = asyncio.ensure_future(look(database, rng.choice(TENANT_NAMES), found))
            if rng.random() < CANCELLED:
                asyncio.get_running_loop().call_later(rng.uniform(0, LONGEST_S), task.cancel)
            with contextlib.suppress(asyncio.CancelledError):
                await task
            found["cancelled"] += task.cancelled()

    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    return found


@pytest.fixture
async def peopled(database: Database) -> Database:
    """Fifty tenants with a user each, who has the tenant's name."""
    for tenant in TENANT_NAMES:
        async with database.tenant(tenant) as connection:
            await connection.execute(insert(TENANTS), tenant_row(tenant))
            await connection.execute(insert(USERS), user_row(tenant, f"u-{tenant}", login=tenant))
    return database


@pytest.mark.slow
async def test_ten_thousand_interleaved_transactions_meet_no_foreign_row(peopled: Database) -> None:
    """Fifty tenants over ten connections, reading and writing everything they can reach."""
    found = await _storm(peopled, _look, transactions=TRANSACTIONS)
    async with peopled.platform() as connection:
        written = (await connection.execute(select(USERS.c.login, USERS.c.name))).all()

    assert found["foreign"] == 0
    assert found["own"] > TRANSACTIONS // 2
    assert found["cancelled"] > TRANSACTIONS // 50
    assert all(name in {login, f"u-{login}"} for login, name in written)


async def test_the_same_storm_finds_the_leak_of_a_plain_set(
    peopled: Database, postgres_config: PostgresConfig
) -> None:
    """The storm can fail: a session's SET is met by the next user of the connection."""
    database = Database(postgres_config.model_copy(update={"pool_size": 2}))

    found = await _storm(database, _look_by_plain_set, transactions=300)
    await database.close()

    assert found["foreign"] > 0
