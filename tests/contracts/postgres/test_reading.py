"""Reads from a real streaming replica: never without what was written, never waiting for one that is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from models.errors import DatabaseAway, StoreUnavailable
from storage.memory import MemoryFastStore
from storage.postgres import tenants
from storage.postgres.config import PostgresConfig
from storage.postgres.database import Database
from storage.postgres.replica import LOOK_S, PATIENCE_S, REST_S, STALENESS_S
from storage.postgres.tables.people import TENANTS
from tests.support.eventually import eventually
from tests.support.postgres import PostgresServer
from tests.support.postgres_replica import StreamingReplica, streaming_replica
from tests.support.rows import tenant_row


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(scope="module")
def replica(postgres_run: PostgresServer) -> Iterator[StreamingReplica]:
    """One replica for this file."""
    with streaming_replica(postgres_run) as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    """The database's."""
    return Clock()


@pytest.fixture
def store() -> MemoryFastStore:
    """What two processes share."""
    return MemoryFastStore(time.time_ns)


@pytest.fixture
def durable(postgres_config: PostgresConfig, postgres_run: PostgresServer) -> PostgresConfig:
    """A database whose commits wait for the log, as they do outside of tests."""
    with psycopg.connect(postgres_run.dsn(), autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {postgres_config.database} SET synchronous_commit = on".encode())
    return postgres_config


@pytest.fixture
def config(durable: PostgresConfig, replica: StreamingReplica) -> PostgresConfig:
    """The same with a replica."""
    return replica.of(durable)


@pytest.fixture
async def hub(
    config: PostgresConfig, replica: StreamingReplica, store: MemoryFastStore, clock: Clock
) -> AsyncIterator[Database]:
    """Acme is in it, and the replica has caught up."""
    database = Database(config, store=store, monotonic=clock)
    async with database.tenant("acme") as connection:
        await connection.execute(insert(TENANTS), tenant_row("acme", name="first"))
    await _caught_up(replica)
    yield database
    await database.close()


async def _caught_up(replica: StreamingReplica) -> None:
    await eventually(replica.has_all)


async def _at(connection: AsyncConnection) -> str:
    recovering = await connection.scalar(text("SELECT pg_is_in_recovery()"))
    return "replica" if recovering else "primary"


async def _read(database: Database, tenant: str = "acme") -> tuple[str, str]:
    """Where the tenant was read, and its name."""
    async with database.reading(tenant) as connection:
        found = await tenants.find(connection, tenant)
        return await _at(connection), found.name if found else ""


async def _rename(database: Database, name: str) -> None:
    async with database.tenant("acme") as connection:
        await connection.execute(update(TENANTS).values(name=name))


async def test_a_replica_that_has_caught_up_is_read(hub: Database) -> None:
    """By the tenant and by the platform, each through its own role."""
    async with hub.platform_reading() as connection:
        page = await tenants.page(connection, after="", most=10)
        where = await _at(connection)

    assert await _read(hub) == ("replica", "first")
    assert await _read(hub, "bolt") == ("replica", "")
    assert ([tenant.tenant_id for tenant in page], where) == (["acme"], "replica")


async def test_what_was_written_is_read_although_the_replica_stands_still(
    hub: Database, replica: StreamingReplica, clock: Clock
) -> None:
    """With its replay paused the replica shows the old name; readers are sent to the primary."""
    with replica.frozen_replay():
        for name in ("second", "third"):
            await _rename(hub, name)
            assert await _read(hub) == ("primary", name)
        async with hub._replica._engines["app"].begin() as connection:  # type: ignore[union-attr]
            await connection.execute(text("SELECT set_config('hub.tenant', 'acme', true)"))
            assert await connection.scalar(select(TENANTS.c.name)) == "first"
        async with hub.platform_reading() as connection:
            (seen,) = await tenants.page(connection, after="", most=10)
            assert (seen.name, await _at(connection)) == ("third", "primary")

    await _caught_up(replica)
    await eventually(lambda: _is_read_at_the_replica(hub, clock, "third"))


async def _is_read_at_the_replica(database: Database, clock: Clock, name: str) -> bool:
    clock.now_s += LOOK_S
    where, found = await _read(database)
    assert found == name
    return where == "replica"


@pytest.fixture
async def others(
    config: PostgresConfig, store: MemoryFastStore, clock: Clock
) -> AsyncIterator[tuple[Database, Database]]:
    """The databases of two more processes, the second of which has no store."""
    second, alone = Database(config, store=store, monotonic=clock), Database(config, monotonic=clock)
    yield second, alone
    await second.close()
    await alone.close()


async def test_a_second_process_reads_what_the_first_has_written(
    hub: Database, others: tuple[Database, Database], replica: StreamingReplica, clock: Clock
) -> None:
    """The store tells it; the same process without the store would read the old name."""
    second, alone = others
    assert [await _read(second), await _read(alone)] == [("replica", "first")] * 2

    with replica.frozen_replay():
        await _rename(hub, "second")
        read = await _read(second)
        without = await _read(alone)
        clock.now_s += STALENESS_S + 0.1
        forgotten = await _read(alone)

    assert read == ("primary", "second")
    assert without == ("replica", "first")
    assert forgotten == ("primary", "second"), "no memory, and still nobody reads what is older"


async def test_a_store_that_is_away_sends_readers_to_the_primary(
    hub: Database, store: MemoryFastStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows then what other processes have written; writing goes on."""

    async def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("the store is away")

    monkeypatch.setattr(store, "get", away)
    monkeypatch.setattr(store, "put_many", away)
    await _rename(hub, "second")

    assert await _read(hub) == ("primary", "second")


async def test_a_transaction_that_wrote_nothing_keeps_nobody_from_the_replica(
    hub: Database, replica: StreamingReplica
) -> None:
    """One that only read, one that was undone, and one whose statement failed."""
    await _read(hub)
    with replica.frozen_replay():
        async with hub.tenant("acme") as connection:
            await tenants.find(connection, "acme")
        with pytest.raises(ZeroDivisionError):
            await _rename_and_fail(hub)
        async with hub.tenant("acme") as connection:
            with pytest.raises(DBAPIError):
                await connection.execute(text("SELECT 1 / 0"))

        assert await _read(hub) == ("replica", "first")


async def _rename_and_fail(database: Database) -> None:
    async with database.tenant("acme") as connection:
        await connection.execute(update(TENANTS).values(name="never"))
        raise ZeroDivisionError


@pytest.mark.parametrize("on", ["replica", "primary"])
async def test_who_reads_writes_nothing(on: str, hub: Database, replica: StreamingReplica) -> None:
    """Wherever the reader was sent, so that the answer does not depend on it."""
    if on == "primary":
        await _rename(hub, "second")
        with replica.frozen_replay():
            await _rename(hub, "third")
            await _refused_as_read_only(hub)
    else:
        await _refused_as_read_only(hub)


async def _refused_as_read_only(database: Database) -> None:
    with pytest.raises(DBAPIError) as caught:
        async with database.reading("acme") as connection:
            await connection.execute(update(TENANTS).values(name="x"))
    assert getattr(caught.value.orig, "sqlstate", None) == "25006"


async def test_a_replica_that_hangs_is_waited_for_once(
    hub: Database, replica: StreamingReplica, clock: Clock
) -> None:
    """One short wait, then the primary at once; after its rest a single reader tries it again."""
    await _read(hub)
    with replica.hanging():
        begun = time.monotonic()
        assert await _read(hub) == ("primary", "first")
        first_s = time.monotonic() - begun
        begun = time.monotonic()
        for _ in range(20):
            assert await _read(hub) == ("primary", "first")
        others_s = time.monotonic() - begun
        clock.now_s += REST_S + 1
        begun = time.monotonic()
        assert set(await asyncio.gather(*(_read(hub) for _ in range(10)))) == {("primary", "first")}
        again_s = time.monotonic() - begun

    assert first_s >= PATIENCE_S  # it did hang
    assert first_s < 4 * PATIENCE_S
    assert others_s < 20 * PATIENCE_S / 2
    assert again_s < 4 * PATIENCE_S
    clock.now_s += REST_S + 1
    await eventually(lambda: _is_read_at_the_replica(hub, clock, "first"))


async def test_a_replica_that_dies_costs_its_reader_one_answer(
    durable: PostgresConfig, postgres_run: PostgresServer, clock: Clock
) -> None:
    """Who was reading is told to try again, and is served by the primary then."""
    with streaming_replica(postgres_run, name="mortal") as replica:
        database = Database(replica.of(durable), monotonic=clock)
        await eventually(lambda: _is_read_at_the_replica(database, clock, ""))
        with pytest.raises(DatabaseAway):
            await _read_from_one_that_dies(database, replica)
        answer = await _read(database)
        await database.close()

    assert answer == ("primary", "")


async def _read_from_one_that_dies(database: Database, replica: StreamingReplica) -> None:
    async with database.reading("acme") as connection:
        assert await _at(connection) == "replica"
        replica.process.kill()
        await connection.execute(text("SELECT 1"))


async def test_a_server_that_is_no_replica_is_never_read(
    postgres_config: PostgresConfig, clock: Clock
) -> None:
    """A primary at the replica's address, as after a failover: nobody knows what it has."""
    database = Database(
        postgres_config.model_copy(update={"replica": postgres_config.address}), monotonic=clock
    )

    await _read(database)
    rests = database._replica._resting_until  # type: ignore[union-attr]
    await database.close()

    assert rests is not None
