"""Consumers of user events that are killed at random moments: every event is in the database exactly once."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from asyncio.subprocess import PIPE, Process
from functools import partial
from pathlib import Path

import pytest

from messaging.config import KafkaConfig
from messaging.connect import open_bus
from messaging.ports import EventBus
from messaging.topics import USER_EVENTS, create_topics
from models.user_event import DataType
from storage.postgres.config import PostgresConfig
from storage.postgres.database import Database
from tests.support.eventually import eventually
from tests.support.user_data import count, event, stored, write

KILLS = 5
BURST = 120
TENANT = "killed"


async def start(told: Path) -> Process:
    """A consumer in a process of its own, once it says that it moves."""
    command = (sys.executable, "-m", "tests.support.user_data_mover", str(told))
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    assert process.stdout is not None
    assert (await process.stdout.readline()).strip() == b"moving"
    return process


async def killed_again_and_again(bus: EventBus, database: Database, told: Path) -> int:
    """Two consumers side by side; one is killed in the middle of every burst. Returns what was written."""
    draw, written = random.Random(5), 0
    running = [await start(told), await start(told)]
    try:
        for kill in range(KILLS):
            names = [f"event-{kill:02}-{n:04}" for n in range(BURST)]
            events = [event(f"u{draw.randrange(40)}", name, tenant_id=TENANT) for name in names]
            before = await count(database, TENANT)
            await write(bus, DataType.TRADES, events)
            await write(bus, DataType.TRADES, draw.sample(events, BURST // 4))  # somebody saved them twice
            written += BURST
            least = before + draw.randrange(BURST)
            await eventually(partial(_more, database, least), 60)
            victim = running.pop(draw.randrange(2))
            victim.kill()
            await victim.wait()
            running.append(await start(told))
        await eventually(partial(_more, database, written), 60)
    finally:
        for process in running:
            process.kill()
            await process.wait()
    return written


async def _more(database: Database, least: int) -> bool:
    return await count(database, TENANT) >= least


@pytest.mark.timeout(240)
@pytest.mark.slow
@pytest.mark.parametrize(
    "broker",
    [
        pytest.param("kafka_bootstrap", marks=pytest.mark.kafka),
        pytest.param("tansu_bootstrap", marks=pytest.mark.tansu),
    ],
)
async def test_every_event_is_stored_once_through_kills(  # noqa: PLR0917 - fixtures
    request: pytest.FixtureRequest,
    broker: str,
    database: Database,
    postgres_config: PostgresConfig,
    tmp_path: Path,
) -> None:
    """On Apache Kafka and on the bundled broker, two consumers side by side, with repeats in the log."""
    address = request.getfixturevalue(broker)
    kafka = KafkaConfig(bootstrap=address) if "kafka" in broker else KafkaConfig.tansu(address)
    told = tmp_path / "told.json"
    told.write_text(
        json.dumps(
            {"kafka": kafka.model_dump(mode="json"), "postgres": postgres_config.model_dump(mode="json")}
        )
    )
    bus = await open_bus(kafka, client_id="test")
    try:
        await create_topics(bus, 1, USER_EVENTS)
        written = await killed_again_and_again(bus, database, told)
    finally:
        await bus.close()

    ids = await stored(database, TENANT)
    assert len(ids) == len(set(ids)) == written == KILLS * BURST
