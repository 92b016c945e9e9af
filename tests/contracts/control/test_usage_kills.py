"""kill -9 of the process that counts, on Apache Kafka and PostgreSQL: the sum is what was sent, exactly."""

from __future__ import annotations

import asyncio
import random
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import func, select

from messaging.config import KafkaConfig
from messaging.connect import open_bus
from messaging.topics import USAGE, create_topics
from storage.postgres.config import PostgresConfig
from storage.postgres.database import Database
from storage.postgres.tables.usage import USAGE_DAYS
from tests.support.eventually import eventually
from tests.support.usage import line, report

KILLS = 4
REPORTS = 400


@contextmanager
def _counter(config: PostgresConfig, kafka: str) -> Iterator[None]:
    """A process that counts, killed at the end of the block."""
    command = [sys.executable, "-m", "tests.support.usage_counter", config.model_dump_json(), kafka]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "counting\n"
        try:
            yield
        finally:
            process.send_signal(signal.SIGKILL)


async def test_kill_9_of_the_counter_loses_and_doubles_nothing(
    database: Database, postgres_config: PostgresConfig, kafka_bootstrap: str
) -> None:
    """Four kills while reports come, some of them twice; the fifth process finishes the sum."""
    rng = random.Random(5)
    bus = await open_bus(KafkaConfig(bootstrap=kafka_bootstrap), client_id="test")
    await create_topics(bus, 1, [USAGE])
    producer = await bus.producer("test")
    tenant, source = f"tenant-{secrets.token_hex(4)}", f"gateway-{secrets.token_hex(8)}"
    sent = 0

    async def counted() -> int:
        async with database.platform() as connection:
            own = USAGE_DAYS.c.tenant_id == tenant
            total = await connection.scalar(select(func.sum(USAGE_DAYS.c.amount)).where(own))
        return int(total or 0)

    async def send(sequence: int) -> int:
        amount = rng.randint(1, 1_000)
        one = report(sequence, line(amount, tenant=tenant), source=source)
        await producer.append(USAGE.name, 0, [one] * rng.choice((1, 1, 2)), timeout_s=10.0)
        return amount

    sequence = 0
    for _ in range(KILLS):
        before = await counted()
        with _counter(postgres_config, kafka_bootstrap):
            for _ in range(REPORTS // KILLS):
                sequence += 1
                sent += await send(sequence)

            async def some(before: int = before) -> bool:
                return await counted() > before

            await eventually(some, 30.0)
            await asyncio.sleep(rng.uniform(0.0, 0.05))  # the moment of the kill, which is what is tried
    with _counter(postgres_config, kafka_bootstrap):

        async def everything() -> bool:
            return await counted() >= sent

        await eventually(everything, 30.0)
    await producer.close()
    await bus.close()

    assert await counted() == sent
