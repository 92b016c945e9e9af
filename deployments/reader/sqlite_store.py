"""`EffectStore` in an SQLite file: the service's own tables change in the same transaction.

Three tables are the library's: `settled` (one row a partition), `sequences` (one a user) and `effects` (one a
delivery, which `hub ledger --reads` can check). All others are the service's.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from deployments.reader.ports import Effect, Settled, SlotState
from models.errors import StaleWriter, StoreUnavailable

Write = Callable[[sqlite3.Connection, Effect], None]
"""Puts an effect into the service's own tables; it runs inside the transaction and must not end it."""

_BUSY_S: Final = 0.05
"""How long a writer of another process is waited for: a decision must not grow old before it is written."""
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS settled (
  partition INTEGER PRIMARY KEY, position INTEGER NOT NULL, claims TEXT NOT NULL, slots TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS sequences (
  partition INTEGER NOT NULL, user_id TEXT NOT NULL, sequence INTEGER NOT NULL,
  PRIMARY KEY (partition, user_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS effects (
  id INTEGER PRIMARY KEY, partition INTEGER NOT NULL, offset INTEGER NOT NULL, epoch INTEGER NOT NULL,
  user_id TEXT NOT NULL, account_id TEXT NOT NULL, sequence INTEGER NOT NULL,
  delivery_id TEXT NOT NULL UNIQUE, outcome TEXT NOT NULL, at_ns INTEGER NOT NULL, detail TEXT NOT NULL
);
"""
_EFFECT: Final = (
    "INSERT INTO effects VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (delivery_id) DO NOTHING"
)
_SEQUENCE: Final = "INSERT OR REPLACE INTO sequences VALUES (?, ?, ?)"
_SETTLED: Final = "INSERT OR REPLACE INTO settled VALUES (?, ?, ?, ?)"
_POSITION: Final = "SELECT position FROM settled WHERE partition = ?"


class SqliteEffects:
    """Owns the connection and the one thread that uses it. `write` is the service's part of an effect;
    `schema` makes its tables if they are not there.
    """

    def __init__(self, path: Path | str, *, schema: str = "", write: Write | None = None) -> None:
        self._write = write or _nothing
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="effects")
        self._database = self._thread.submit(_opened, str(path), _SCHEMA + schema).result()

    async def load(self, partition: int) -> Settled | None:
        """See `EffectStore.load`."""
        settled: Settled | None = await self._run(self._load, partition)
        return settled

    async def apply(
        self, partition: int, effects: Sequence[Effect], settled: Settled, *, after: int | None
    ) -> None:
        """See `EffectStore.apply`. A cancelled call may have been carried out: load again to know."""
        await self._run(self._apply, partition, effects, settled, after)

    async def forget(self, *, before_ns: int) -> None:
        """Drop the effects put down before this wall time; what is settled stays settled."""
        await self._run(self._database.execute, "DELETE FROM effects WHERE at_ns < ?", (before_ns,))

    async def close(self) -> None:
        """Finish what was begun, then close the file."""
        await self._run(self._database.close)
        self._thread.shutdown()

    async def _run(self, work: Callable[..., Any], *arguments: object) -> Any:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
        except sqlite3.OperationalError as error:
            raise StoreUnavailable(f"the store of effects cannot be used now: {error}") from error

    def _load(self, partition: int) -> Settled | None:
        query = "SELECT position, claims, slots FROM settled WHERE partition = ?"
        row = self._database.execute(query, (partition,)).fetchone()
        if row is None:
            return None
        numbers = "SELECT user_id, sequence FROM sequences WHERE partition = ?"
        return Settled(
            position=row[0],
            claims=tuple(orjson.loads(row[1])),
            sequences=dict(self._database.execute(numbers, (partition,))),
            slots=dict(map(_slot, orjson.loads(row[2]))),
        )

    def _apply(self, partition: int, effects: Sequence[Effect], settled: Settled, after: int | None) -> None:
        with self._transaction() as database:
            row = database.execute(_POSITION, (partition,)).fetchone()
            if (row[0] if row else None) != after:
                raise StaleWriter(
                    f"partition {partition} is not at {after} any more: another reader was here"
                )
            for effect in effects:
                if database.execute(_EFFECT, _row(partition, effect)).rowcount:
                    self._write(database, effect)
            moved = ((partition, user, number) for user, number in settled.sequences.items())
            database.executemany(_SEQUENCE, moved)
            claims, slots = orjson.dumps(settled.claims).decode(), _slots(settled)
            database.execute(_SETTLED, (partition, settled.position, claims, slots))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; the lock is taken first, so that what was read stays true."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield self._database
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise


def _opened(path: str, schema: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.executescript(schema)
    return database


def _nothing(_: sqlite3.Connection, __: Effect) -> None:
    """A service whose only table of effects is the library's."""


def _row(partition: int, effect: Effect) -> tuple[object, ...]:
    signal = effect.signal
    return (
        partition,
        effect.offset,
        signal.epoch,
        signal.user_id,
        signal.account_id,
        signal.sequence,
        signal.delivery_id,
        effect.outcome.value,
        effect.at_ns,
        effect.detail,
    )


def _slots(settled: Settled) -> str:
    rows: Iterable[object] = (
        [series, slot.bar_close_ms, slot.part, slot.sealed, sorted(slot.deliveries)]
        for series, slot in settled.slots.items()
    )
    return orjson.dumps(list(rows)).decode()


def _slot(row: list[Any]) -> tuple[tuple[str, str, int], SlotState]:
    (strategy, symbol, horizon_ms), close_ms, (part, parts), sealed, deliveries = row
    return (strategy, symbol, horizon_ms), SlotState(close_ms, (part, parts), sealed, frozenset(deliveries))
