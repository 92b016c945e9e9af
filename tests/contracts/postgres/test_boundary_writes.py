"""Row-level security as a writer meets it: nothing of others changes, and refusals tell nothing of them."""

from __future__ import annotations

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from storage.postgres.database import Database
from storage.postgres.tables.people import SESSIONS, USERS
from tests.support.rows import session_row, user_row
from tests.support.two_tenants import CANARY, refused


async def test_rows_of_another_tenant_cannot_be_written(two_tenants: Database) -> None:
    """Neither made, nor taken over, nor given away; changing or deleting them meets nothing."""
    await refused(two_tenants, "42501", insert(USERS).values(user_row("bolt", "u-new")))
    await refused(two_tenants, "42501", update(USERS).values(tenant_id="bolt"))
    async with two_tenants.tenant("acme") as connection:
        changed = await connection.execute(update(USERS).where(USERS.c.user_id == "u-bolt").values(name="x"))
        deleted = await connection.execute(delete(USERS).where(USERS.c.user_id == "u-bolt"))
        locked = await connection.execute(select(USERS).where(USERS.c.user_id == "u-bolt").with_for_update())
    async with two_tenants.tenant("bolt") as connection:
        name = await connection.scalar(select(USERS.c.name))

    assert (changed.rowcount, deleted.rowcount, locked.all()) == (0, 0, [])
    assert name == CANARY


async def test_a_foreign_key_tells_nothing_of_other_tenants(two_tenants: Database) -> None:
    """A session of Bolt's user and of nobody's are refused in the same words, but for the id given."""
    told = []
    for user in ("u-bolt", "u-none"):
        statement = insert(SESSIONS).values(session_row("acme", "s-1", user_id=user))
        error = await refused(two_tenants, "23503", statement)
        told.append(str(error).replace(user, "USER"))

    assert told[0] == told[1]


async def test_a_taken_id_is_all_that_a_unique_key_tells(two_tenants: Database) -> None:
    """Ids are drawn by the hub and not guessed, but who knows one learns that it is taken, and nothing else:
    not whose it is, nor any value of the row.
    """
    taken = insert(USERS).values(user_row("acme", "u-bolt"))
    over = upsert(USERS).values(user_row("acme", "u-bolt"))
    over = over.on_conflict_do_update(index_elements=["user_id"], set_={"tenant_id": "acme"})

    unique = await refused(two_tenants, "23505", taken)
    policy = await refused(two_tenants, "42501", over)

    assert unique.diag.message_detail is None
    assert "=(bolt" not in f"{unique} {policy}"
    assert "'bolt'" not in f"{unique} {policy}"


async def test_the_same_login_in_two_tenants_is_no_conflict(two_tenants: Database) -> None:
    """What users choose themselves is unique within their tenant, so it tells nothing of another's."""
    for tenant in ("acme", "bolt"):
        async with two_tenants.tenant(tenant) as connection:
            await connection.execute(insert(USERS), user_row(tenant, f"u-{tenant}-2", login="root"))

    async with two_tenants.platform() as connection:
        count = await connection.scalar(select(func.count()).where(USERS.c.login == "root"))
    assert count == 2
