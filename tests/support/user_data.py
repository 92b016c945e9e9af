"""User events for tests of long-term user data: made, written to a log, and counted in the database."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from sqlalchemy import func, select

from deployments.control.user_data.intake import IntakeWires
from messaging.ports import EventBus, LogRecord, Record
from messaging.topics import EVENT_MARKS, partition_of
from models.metrics import MemoryMeter
from models.user_event import EVENT_KINDS, DataType, UserEvent
from storage.postgres.config import PostgresConfig
from storage.postgres.database import Database
from storage.postgres.tables.user_data import USER_DATA as D

APPEND_S = 10.0


def event(user_id: str, event_id: str, **facts: Any) -> UserEvent:
    """An event of a user of `acme`, unless told otherwise; taken now, as it occurred."""
    at_ns = facts.get("at_ns", time.time_ns())
    given = {"tenant_id": "acme", "type": "opened", "occurred_ns": at_ns, "at_ns": at_ns, "body": {"n": 1}}
    return UserEvent(**(given | {"user_id": user_id, "event_id": event_id} | facts))


def home(user_id: str) -> int:
    """The partition that has all of a user's events."""
    return partition_of(user_id.encode(), EVENT_MARKS.partitions)


def log_record(value: UserEvent | bytes, data_type: DataType = DataType.TRADES, **facts: Any) -> LogRecord:
    """A record as the gateway writes it, unless told otherwise."""
    kind = EVENT_KINDS[data_type]
    given: dict[str, Any] = {"topic": kind.topic, "offset": 0, "timestamp_ms": time.time_ns() // 1_000_000}
    if isinstance(value, UserEvent):
        given |= {"partition": home(value.user_id), "key": kind.key(value), "value": encoded(value)}
    else:
        given |= {"partition": 0, "key": b"", "value": value}
    return LogRecord(**(given | facts))


def encoded(one: UserEvent) -> bytes:
    """The value as it lies in the log."""
    return json.dumps(one.model_dump(by_alias=True)).encode()


async def write(bus: EventBus, data_type: DataType, events: Sequence[UserEvent]) -> None:
    """Append the events where the gateway would."""
    kind, by_partition = EVENT_KINDS[data_type], dict[int, list[Record]]()
    for one in events:
        by_partition.setdefault(home(one.user_id), []).append(Record(kind.key(one), encoded(one)))
    producer = await bus.producer("test")
    try:
        for partition, records in by_partition.items():
            await producer.append(kind.topic, partition, records, timeout_s=APPEND_S)
    finally:
        await producer.close()


def wires(
    database: Database, bus: EventBus, *, clock: Callable[[], int] = time.time_ns, **facts: Any
) -> IntakeWires:
    """What an intake of a test's own works with: it rests little."""
    rng = random.Random(1)
    given: dict[str, Any] = {"meter": MemoryMeter(), "rng": rng, "rest_s": 0.02, "stand_by_s": 0.1}
    return IntakeWires(database=database, bus=bus, clock=clock, turn=asyncio.Lock(), **(given | facts))


async def stored(database: Database, tenant_id: str = "acme") -> list[str]:
    """The ids of all events of a tenant in the database, with repeats if there were any."""
    async with database.tenant(tenant_id) as connection:
        return sorted((await connection.execute(select(D.c.event_id))).scalars())


async def count(database: Database, tenant_id: str = "acme") -> int:
    """How many events of a tenant are in the database."""
    async with database.tenant(tenant_id) as connection:
        return (await connection.execute(select(func.count()).select_from(D))).scalar_one()


def login(config: PostgresConfig, role: str) -> psycopg.Connection[tuple[object, ...]]:
    """A connection of a role, as anybody with its password could make one."""
    one = {"app": config.app, "platform": config.platform, "owner": config.owner}[role]
    assert one is not None
    assert one.password is not None
    host, _, port = config.address.rpartition(":")
    return psycopg.connect(
        host=host, port=port, dbname=config.database, user=one.role, password=one.password.resolve()
    )
