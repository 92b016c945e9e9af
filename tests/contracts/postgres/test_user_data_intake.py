"""Moving user events from the log to the database: each once, whoever moves them, whatever is in them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from psycopg import AsyncConnection
from sqlalchemy import insert, select

from deployments.control.user_data.intake import TopicIntake
from messaging.memory import MemoryBus, MemoryLog
from messaging.topics import USER_EVENTS, create_topics
from models.user_event import DataType
from storage.postgres import user_data_intake
from storage.postgres.config import PostgresConfig
from storage.postgres.database import Database
from storage.postgres.tables.people import TENANTS
from storage.postgres.tables.user_data import USER_DATA_POSITIONS, USER_DATA_QUARANTINE
from storage.postgres.user_data import Owner, Window, page
from tests.support.eventually import eventually
from tests.support.postgres import PostgresServer
from tests.support.user_data import count, encoded, event, home, log_record, stored, wires, write

DAY_NS = 86_400 * 10**9
TRADES = DataType.TRADES


@pytest.fixture
async def bus() -> MemoryBus:
    """A broker in this process with the topics of user events."""
    made = MemoryBus(MemoryLog(random.Random(1), clock=time.time_ns), "test")
    await create_topics(made, 1, USER_EVENTS)
    return made


@asynccontextmanager
async def moving(*intakes: TopicIntake) -> AsyncIterator[None]:
    """The intakes run for as long as the block lasts, and end with what ended them."""
    tasks = [asyncio.create_task(intake.run()) for intake in intakes]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in ended), ended


async def intake_of(database: Database, bus: MemoryBus, data_type: DataType = TRADES) -> TopicIntake:
    """An intake that knows where its partitions stand."""
    intake = TopicIntake(data_type, wires(database, bus))
    await intake.resume()
    return intake


async def position(database: Database, partition: int, topic: str = "user.trades") -> int:
    """Where a partition stands by the database."""
    async with database.platform() as connection:
        columns = USER_DATA_POSITIONS.c
        asked = select(columns.next_offset).where(columns.topic == topic, columns.partition == partition)
        return int((await connection.execute(asked)).scalar_one())


async def reasons(database: Database) -> list[str]:
    """Why records are in quarantine."""
    async with database.platform() as connection:
        return sorted((await connection.execute(select(USER_DATA_QUARANTINE.c.reason))).scalars())


async def test_events_of_every_type_arrive_in_the_database(database: Database, bus: MemoryBus) -> None:
    """Two tenants in one batch, all eight topics; each tenant sees its own."""
    intakes = [TopicIntake(kind, wires(database, bus)) for kind in DataType]
    for kind in DataType:
        ours = [event(f"u{number}", f"{kind.value}-{number:04}") for number in range(20)]
        theirs = [event(f"v{number}", f"{kind.value}-{number:04}", tenant_id="bolt") for number in range(5)]
        await write(bus, kind, [*ours, *theirs])

    async with moving(*intakes):
        await eventually(lambda: sum(one.moved["stored"] for one in intakes) == 8 * 25)
        await eventually(lambda: all(one.behind_s is not None and one.behind_s < 5 for one in intakes))

    assert (await count(database), await count(database, "bolt")) == (160, 40)


async def test_a_repeat_of_an_event_is_the_same_event(database: Database, bus: MemoryBus) -> None:
    """In the batch, in a later one, and across months; one that is older than 31 days is another."""
    intake = await intake_of(database, bus)
    now_ns = time.time_ns()
    times = [now_ns - 300 * DAY_NS, now_ns - 270 * DAY_NS, now_ns - 29 * DAY_NS, now_ns - 20 * DAY_NS, now_ns]
    events = [event("u1", "same-event", at_ns=at_ns, body={"n": n}) for n, at_ns in enumerate(times)]
    records = [log_record(one, offset=offset) for offset, one in enumerate(events)]

    for some in (records[:1], records[1:2], records[2:]):
        assert await intake.take(some)

    assert await stored(database) == ["same-event"] * 2
    assert intake.moved == {"stored": 2, "repeated": 3}


async def test_the_name_of_an_event_is_its_users_own(database: Database, bus: MemoryBus) -> None:
    """The same `event_id` of another user, tenant or type is another event."""
    trades, alerts = await intake_of(database, bus), await intake_of(database, bus, DataType.RISK_ALERTS)
    events = [event("u1", "event-01"), event("u2", "event-01"), event("u3", "event-01", tenant_id="bolt")]
    offsets = dict.fromkeys(map(home, ("u1", "u2", "u3")), -1)
    records = []
    for one in events:
        offsets[home(one.user_id)] += 1
        records.append(log_record(one, offset=offsets[home(one.user_id)]))

    assert await trades.take(records)
    assert await alerts.take([log_record(events[0], DataType.RISK_ALERTS)])

    assert (await count(database), await count(database, "bolt")) == (3, 1)


async def test_rows_and_position_are_written_together_or_not_at_all(
    database: Database, bus: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies between the two leaves neither; the next one moves the events."""

    async def dies(*_: Any, **__: Any) -> None:
        raise RuntimeError("killed")

    intake = await intake_of(database, bus)
    with monkeypatch.context() as broken:
        broken.setattr(user_data_intake, "advance", dies)
        with pytest.raises(RuntimeError):
            await intake.take([log_record(event("u1", "event-01"))])
    assert (await count(database), await position(database, home("u1"))) == (0, 0)

    successor = await intake_of(database, bus)
    assert await successor.take([log_record(event("u1", "event-01"))])
    assert (await count(database), await position(database, home("u1"))) == (1, 1)


async def test_of_two_that_read_the_same_one_writes(database: Database, bus: MemoryBus) -> None:
    """The slower of two consumers learns that it was overtaken, and writes nothing."""
    first, second = await intake_of(database, bus), await intake_of(database, bus)
    records = [log_record(event("u1", f"event-{n:02}"), offset=n) for n in range(10)]

    outcomes = await asyncio.gather(first.take(records), second.take(records))

    assert sorted(outcomes) == [False, True]
    assert first.moved + second.moved == {"stored": 10}
    assert await position(database, home("u1")) == 10


async def test_without_comparing_positions_both_would_write(
    database: Database, bus: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted fault: the loser moves the position back to where it read, and tries every event anew."""

    async def everything(_: Any, __: str, starts: dict[int, int]) -> set[int]:
        return set(starts)

    slow, quick = await intake_of(database, bus), await intake_of(database, bus)
    records = [log_record(event("u1", f"event-{n:02}"), offset=n) for n in range(10)]
    monkeypatch.setattr(user_data_intake, "held", everything)

    assert await quick.take(records)
    assert await slow.take(records[:5])

    assert slow.moved["repeated"] == 5
    assert await position(database, home("u1")) == 5


async def test_two_consumers_side_by_side_move_each_event_once(database: Database, bus: MemoryBus) -> None:
    """While events come in, neither loses one, and neither ever tries one that the other has written."""
    both = [TopicIntake(TRADES, wires(database, bus, rng=random.Random(seed))) for seed in (1, 2)]
    async with moving(*both):
        for burst in range(30):
            await write(bus, TRADES, [event(f"u{n}", f"event-{burst:02}-{n:02}") for n in range(20)])
            await asyncio.sleep(0)
        await eventually(lambda: sum(one.moved["stored"] for one in both) == 600, 20)

    assert len(set(await stored(database))) == 600 == await count(database)
    assert both[0].moved + both[1].moved == {"stored": 600}


FORGED = {
    "unreadable": [log_record(b"no json"), log_record(b"{}"), log_record(b'{"schema": "hub.other/1"}')],
    "key_mismatch": [
        log_record(event("u1", "event-01"), key=b"u2"),
        log_record(event("u1", "event-01"), key=b""),
        log_record(event("u1", "event-01"), DataType.TRADES, key=b'["acme","u1",null]'),
    ],
    "wrong_partition": [log_record(event("u1", "event-01"), partition=(home("u1") + 1) % 24)],
    "bad_identity": [
        log_record(event("u1", "event-01", tenant_id="")),
        log_record(event("u1", "event-01", tenant_id="a\0b")),
        log_record(event("u1", "x")),
        log_record(event("u1", "event-01", type="DROP TABLE user_data")),
        log_record(event("~claim", "event-01")),
        log_record(event("u1\0", "event-01")),
    ],
    "impossible_time": [
        log_record(event("u1", "event-01", at_ns=0)),
        log_record(event("u1", "event-01", at_ns=2**62)),
        log_record(event("u1", "event-01", at_ns=10**40)),
        log_record(event("u1", "event-01", occurred_ns=-1)),
        log_record(event("u1", "event-01", occurred_ns=time.time_ns() + 2 * DAY_NS)),
    ],
    "too_large": [log_record(event("u1", "event-01", body={"text": "x" * 300_000}))],
    "unstorable": [
        log_record(encoded(event("u1", "event-01", body={"n": 0})).replace(b'"n": 0', b'"n": NaN'))
    ],
}


@pytest.mark.parametrize(
    ("reason", "number"), [(reason, n) for reason, some in FORGED.items() for n in range(len(some))]
)
async def test_what_cannot_be_believed_is_kept_away_and_blocks_nothing(
    database: Database, bus: MemoryBus, reason: str, number: int
) -> None:
    """The record is in quarantine with its reason, the next event is moved, and nobody got anything else."""
    forged = FORGED[reason][number]
    if reason == "unstorable":
        honest = log_record(event("u1", "event-01"))
        forged = replace(forged, partition=honest.partition, key=honest.key)
    good = log_record(event("u1", "event-99"), offset=1)
    intake = await intake_of(database, bus)

    assert await intake.take([replace(forged, offset=0)])
    assert await intake.take([good] if forged.partition == good.partition else [replace(good, offset=0)])

    assert await stored(database) == ["event-99"]
    assert await reasons(database) == [reason]
    assert intake.moved[reason] == 1


async def test_every_text_that_json_can_hold_is_stored_as_it_is(database: Database, bus: MemoryBus) -> None:
    """A NUL in a text is none that `jsonb` could hold; numbers keep all their digits."""
    body = {"comment": 'a\0b "quoted" \u2028', "n": 10**30, "x": 1e-300}
    record = log_record(event("u1", "event-01"))
    value = b'{"schema":"hub.user-event/1","event_id":"event-01","tenant_id":"acme","user_id":"u1",'
    value += b'"type":"opened","occurred_ns":1,"at_ns":%d,"body":' % time.time_ns()
    value += b'{"comment":"a\\u0000b \\"quoted\\" \xe2\x80\xa8","n":1%b,"x":1e-300}}' % (b"0" * 30)
    intake = await intake_of(database, bus)

    assert await intake.take([replace(record, value=value)])

    async with database.tenant("acme") as connection:
        (found,) = await page(connection, Owner("acme", "u1"), TRADES, Window())
    assert found.body == body


async def test_a_record_that_only_the_database_refuses_is_found_and_kept_away(
    database: Database, bus: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of a hundred violates a constraint: the other 99 are stored."""
    real = user_data_intake.add

    async def strict(connection: Any, data_type: DataType, rows: Any) -> int:
        for row in rows:
            if row.event_id == "event-57":
                rows = [row._replace(tenant_id="")]
        return await real(connection, data_type, rows)

    monkeypatch.setattr(user_data_intake, "add", strict)
    intake = await intake_of(database, bus)

    assert await intake.take([log_record(event("u1", f"event-{n:02}"), offset=n) for n in range(100)])

    assert intake.moved == {"stored": 99, "unstorable": 1}
    assert await position(database, home("u1")) == 100


async def test_history_of_a_compacted_topic_stays(database: Database, bus: MemoryBus) -> None:
    """Two versions of a document are two events; a tombstone takes neither away."""
    intake = await intake_of(database, bus, DataType.SETTINGS)
    bodies = [{"document": "risk", "values": {"max": n}} for n in range(2)]
    events = [event("u1", f"event-{n:02}", type="settings_saved", body=body) for n, body in enumerate(bodies)]
    records = [log_record(one, DataType.SETTINGS, offset=n) for n, one in enumerate(events)]
    tombstone = replace(records[0], offset=2, value=None)

    assert await intake.take([*records, tombstone])

    assert await stored(database) == ["event-00", "event-01"]
    assert await position(database, home("u1"), "user.settings") == 3


async def test_a_topic_that_was_made_anew_is_read_from_its_beginning(
    database: Database, bus: MemoryBus
) -> None:
    """A position behind the end of the log is no place to wait at."""
    intake = await intake_of(database, bus)
    assert await intake.take([log_record(event("u1", "event-01"), offset=4_710)])
    await write(bus, TRADES, [event("u1", "event-02")])

    successor = TopicIntake(TRADES, wires(database, bus))
    async with moving(successor):
        await eventually(lambda: successor.moved["stored"] == 1)

    assert await stored(database) == ["event-01", "event-02"]


async def test_what_the_log_removed_before_it_was_read_is_counted(database: Database, bus: MemoryBus) -> None:
    """A gap of a topic that is not compacted: events that nobody has any more."""
    intake = await intake_of(database, bus)
    await intake.take([log_record(event("u1", "event-01"), offset=0)])
    await intake.take([log_record(event("u1", "event-02"), offset=41)])
    assert intake.moved["missed"] == 40


async def test_events_of_a_deleted_tenant_are_not_stored(database: Database, bus: MemoryBus) -> None:
    """What is still in the log when a tenant ends does not bring it back."""
    given = {"entitled_until_ns": 1, "created_ns": 1, "changed_ns": 1, "version": 1}
    async with database.tenant("gone") as connection:
        values = {"tenant_id": "gone", "name": "gone", "tier": "free", "status": "deleted"}
        await connection.execute(insert(TENANTS), values | given)
    intake = await intake_of(database, bus)

    await intake.take([log_record(event("u1", "event-01", tenant_id="gone"))])

    assert (await count(database, "gone"), intake.moved) == (0, {"tenant_deleted": 1})


def _stored_at_least(intake: TopicIntake, number: int) -> bool:
    return intake.moved["stored"] >= number


async def test_connections_that_are_torn_lose_and_repeat_nothing(
    database: Database, bus: MemoryBus, postgres_run: PostgresServer, postgres_config: PostgresConfig
) -> None:
    """The database ends every connection again and again while events come in."""
    intake = TopicIntake(TRADES, wires(database, bus))
    name = postgres_config.database
    tear = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s"
    torn = 0
    async with moving(intake), await AsyncConnection.connect(postgres_run.dsn(), autocommit=True) as admin:
        for burst in range(15):
            await write(bus, TRADES, [event(f"u{n}", f"event-{burst:02}-{n:02}") for n in range(20)])
            await eventually(partial(_stored_at_least, intake, burst * 10), 20)
            ended = await (await admin.execute(tear, [name])).fetchone()
            torn += ended[0] if ended else 0
        await eventually(lambda: intake.moved["stored"] == 300, 20)

    assert torn > 0
    assert len(set(await stored(database))) == 300 == await count(database)
