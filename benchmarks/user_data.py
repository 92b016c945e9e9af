"""Moving user events from the log into PostgreSQL, beside a consumer that inserts them one by one.

Both get the same records in the same batches, decode and check them alike, and commit rows and position in
one transaction a batch; the peer sends an INSERT for each event. The database syncs every commit to disk.
Kafka is left out: the records are in memory. Events are of 1,000 users of 100 tenants, each about 250 bytes.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

import orjson
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from benchmarks.harness import Benchmark, Report, middle, spread
from deployments.control.user_data.intake import BATCH, IntakeWires, TopicIntake
from messaging.memory import MemoryBus, MemoryLog
from messaging.ports import LogRecord
from messaging.topics import EVENT_MARKS, partition_of
from models.metrics import MemoryMeter
from models.secret import SecretRef
from models.user_event import DataType
from serve_app.servers.postgres import postgres
from storage.postgres import user_data_intake
from storage.postgres.config import APP_ROLE, OWNER_ROLE, PLATFORM_ROLE, Login, PostgresConfig
from storage.postgres.database import Database
from storage.postgres.migrate import migrated
from storage.postgres.roles import make_roles
from storage.postgres.tables.user_data import USER_DATA
from storage.postgres.user_data_intake import EventRow

EVENTS: Final = 6_000
ROUNDS: Final = 5
USERS: Final = 1_000
_ROLES: Final = (OWNER_ROLE, APP_ROLE, PLATFORM_ROLE)


class Log:
    """Records as they lie in Kafka, in the order of their offsets."""

    def __init__(self) -> None:
        self._ends = dict.fromkeys(range(EVENT_MARKS.partitions), 0)
        self._rng = random.Random(1)

    def more(self, number: int) -> list[LogRecord]:
        """The next records of all partitions."""
        return [self._record() for _ in range(number)]

    def _record(self) -> LogRecord:
        user, now_ns = self._rng.randrange(USERS), time.time_ns()
        body = {"account_id": "default", "ticket": user, "symbol": "EURUSD.pro", "side": "buy", "volume": 0.1}
        value = {
            "schema": "hub.user-event/1",
            "event_id": f"{self._rng.getrandbits(128):032x}",
            "tenant_id": f"tenant-{user % 100}",
            "user_id": f"u-{user}",
            "type": "opened",
            "occurred_ns": now_ns,
            "at_ns": now_ns,
            "body": body,
        }
        key = f"u-{user}".encode()
        partition = partition_of(key, EVENT_MARKS.partitions)
        offset = self._ends[partition]
        self._ends[partition] += 1
        return LogRecord("user.trades", partition, offset, now_ns // 10**6, key, orjson.dumps(value))


class _EndlessBus(MemoryBus):
    """A log that goes on behind every position."""

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:  # noqa: ARG002 - as the port
        return 0, 1 << 62


def run(report: Report) -> None:
    """Rounds of ours and of the peer twice, in turn, into one growing table."""
    with tempfile.TemporaryDirectory(prefix="central-hub-") as scratch, _server(Path(scratch)) as config:
        asyncio.run(_measure(report, config))


async def _measure(report: Report, config: PostgresConfig) -> None:
    await migrated(config)
    database, log = Database(config), Log()
    rates: dict[str, list[float]] = {"ours": [], "peer": [], "again": []}
    try:
        await _moved(database, log.more(BATCH))  # connections, partitions and prepared statements
        with _one_by_one():
            await _moved(database, log.more(BATCH))
        for _ in range(ROUNDS):
            rates["ours"].append(await _moved(database, log.more(EVENTS)))
            for name in ("peer", "again"):
                with _one_by_one():
                    rates[name].append(await _moved(database, log.more(EVENTS)))
            report.validity.pause()
    finally:
        await database.close()
    _report(report, rates)


async def _moved(database: Database, records: Sequence[LogRecord]) -> float:
    """Events a second."""
    wires = IntakeWires(
        database=database,
        bus=_EndlessBus(MemoryLog(random.Random(1), clock=time.time_ns), "benchmark"),
        meter=MemoryMeter(),
        clock=time.time_ns,
        rng=random.Random(1),
        turn=asyncio.Lock(),
    )
    intake = TopicIntake(DataType.TRADES, wires)
    await intake.resume()
    begun = time.perf_counter()
    await intake.take(records)
    took_s = time.perf_counter() - begun
    if intake.moved["stored"] != len(records):
        raise AssertionError(f"{intake.moved} of {len(records)} events")
    return len(records) / took_s


@contextmanager
def _one_by_one() -> Iterator[None]:
    """The peer: an INSERT for each event, in the same transaction."""
    ours = user_data_intake.add

    async def add(connection: AsyncConnection, data_type: DataType, rows: Sequence[EventRow]) -> int:
        statement = insert(USER_DATA)
        for row in rows:
            values: dict[str, Any] = row._asdict() | {
                "data_type": data_type.value,
                "body": orjson.loads(row.body),
            }
            await connection.execute(statement, values)
        return len(rows)

    user_data_intake.add = add
    try:
        yield
    finally:
        user_data_intake.add = ours


def _report(report: Report, rates: dict[str, list[float]]) -> None:
    ours, peer = middle(rates["ours"]), middle(rates["peer"])
    report.add("events_per_s", ours, f"events a second into the database, batches of {BATCH:,}")
    report.add("single_events_per_s", peer, "the same, an INSERT for each event")
    report.add("aa_spread", spread(rates["peer"], rates["again"]), "share, single INSERTs against themselves")
    report.add("ratio", ours / peer, "x, ours over single INSERTs")


@contextmanager
def _server(directory: Path) -> Iterator[PostgresConfig]:
    process = postgres(directory, durable=True)
    process.start()
    try:
        process.wait_ready()
        words = {role: token_hex(16) for role in _ROLES}
        for role, word in words.items():
            (directory / role).write_text(word)
        password = process.home.password_file.read_text()
        make_roles(
            f"postgresql://postgres:{password}@{process.address}/postgres", database="hub", passwords=words
        )
        logins = [Login(role=role, password=SecretRef(file=str(directory / role))) for role in _ROLES]
        owner, app, platform = logins
        yield PostgresConfig(address=process.address, app=app, platform=platform, owner=owner)
    finally:
        process.stop()


BENCHMARK: Final = Benchmark(
    name="user_data",
    question="How many user events a second are moved to the database, each exactly once?",
    run=run,
)
