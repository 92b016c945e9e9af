"""Moves trades from Kafka to PostgreSQL until it is killed: `python -m tests.support.user_data_mover FILE`.

The file says where both are, as JSON; passwords are in the files that it names.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from pathlib import Path

from deployments.control.user_data.intake import TopicIntake
from messaging.config import KafkaConfig
from messaging.connect import open_bus
from models.user_event import DataType
from storage.postgres.config import PostgresConfig
from storage.postgres.database import Database
from tests.support.user_data import wires


async def main(told: dict[str, object]) -> None:
    """Say that it moves, and move."""
    bus = await open_bus(KafkaConfig.model_validate(told["kafka"]), client_id="mover")
    database = Database(PostgresConfig.model_validate(told["postgres"]))
    rng = random.Random(time.time_ns())
    intake = TopicIntake(DataType.TRADES, wires(database, bus, rng=rng))
    sys.stdout.write("moving\n")
    sys.stdout.flush()
    await intake.run()


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
