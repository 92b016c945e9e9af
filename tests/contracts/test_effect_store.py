"""The contract of `EffectStore` on memory and SQLite, and what only a file can go through."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from deployments.reader.memory_store import MemoryEffects
from deployments.reader.ports import Effect, EffectStore, Outcome
from deployments.reader.sqlite_store import SqliteEffects
from models.errors import StoreUnavailable
from tests.contracts.effect_store import EffectStoreContract, Listed, effect, settled


class TestMemoryEffects(EffectStoreContract):
    """In the process."""

    @pytest.fixture
    def store(self) -> EffectStore:
        return MemoryEffects()

    @pytest.fixture
    def listed(self) -> Listed:
        def rows(store: EffectStore) -> list[tuple[int, int, Outcome]]:
            assert isinstance(store, MemoryEffects)
            return [(partition, one.offset, one.outcome) for partition, one in store.effects]

        return rows


class TestSqliteEffects(EffectStoreContract):
    """In a file."""

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        return tmp_path / "effects.sqlite"

    @pytest.fixture
    async def store(self, file: Path) -> AsyncIterator[EffectStore]:
        store = SqliteEffects(file)
        yield store
        await store.close()

    @pytest.fixture
    def listed(self, file: Path) -> Listed:
        def rows(_: EffectStore) -> list[tuple[int, int, Outcome]]:
            with closing(sqlite3.connect(file)) as database:
                found = database.execute("SELECT partition, offset, outcome FROM effects ORDER BY id")
                return [(partition, offset, Outcome(outcome)) for partition, offset, outcome in found]

        return rows

    async def test_everything_is_there_after_a_restart(self, file: Path) -> None:
        """Another process finds the place and the effects."""
        first = SqliteEffects(file)
        await first.apply(3, [effect("u1", 5)], settled(6, {"u1": 1}), after=None)
        await first.close()

        second = SqliteEffects(file)
        assert await second.load(3) == settled(6, {"u1": 1})
        await second.close()

    async def test_the_services_own_tables_change_with_it_or_not_at_all(self, tmp_path: Path) -> None:
        """An error in the service's part undoes the place as well."""

        def write(database: sqlite3.Connection, one: Effect) -> None:
            database.execute("INSERT INTO positions VALUES (?, ?)", (one.signal.user_id, one.offset))
            if one.offset == 6:
                raise ValueError("the service's own defect")

        file = tmp_path / "own.sqlite"
        store = SqliteEffects(file, schema="CREATE TABLE positions (user, offset);", write=write)
        await store.apply(3, [effect("u1", 5)], settled(6), after=None)
        with pytest.raises(ValueError, match="own defect"):
            await store.apply(3, [effect("u2", 6)], settled(7), after=6)

        assert (await store.load(3) or settled(0)).position == 6
        await store.close()
        with closing(sqlite3.connect(file)) as database:
            assert database.execute("SELECT * FROM positions").fetchall() == [("u1", 5)]
            assert database.execute("SELECT count(*) FROM effects").fetchone() == (1,)

    async def test_a_file_that_is_locked_is_away_and_not_waited_for(self, file: Path) -> None:
        """The decision would grow old; the caller decides anew."""
        store = SqliteEffects(file)
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable):
                await store.apply(3, [], settled(6), after=None)
            other.execute("ROLLBACK")

        await store.apply(3, [], settled(6), after=None)
        await store.close()

    async def test_old_effects_can_be_dropped(self, file: Path, listed: Listed) -> None:
        """The journal need not grow for ever; what is settled stays so."""
        store = SqliteEffects(file)
        await store.apply(3, [effect("u1", 5)], settled(6), after=None)

        await store.forget(before_ns=effect("u1", 5).at_ns + 1)

        assert listed(store) == []
        assert (await store.load(3) or settled(0)).position == 6
        await store.close()
