"""A process that counts `hub.usage` until it is killed.

`python -m tests.support.usage_counter CONFIG KAFKA`
"""

from __future__ import annotations

import asyncio
import sys

from deployments.control.usage.intake import CountReports, TopicCount
from messaging.config import KafkaConfig
from messaging.connect import open_bus
from storage.postgres.config import PostgresConfig
from storage.postgres.database import Database
from tests.support.usage import wires


async def main(config: PostgresConfig, kafka: str) -> None:
    """Count for ever."""
    bus = await open_bus(KafkaConfig(bootstrap=kafka), client_id="usage-counter")
    sys.stdout.write("counting\n")
    sys.stdout.flush()
    await TopicCount(CountReports(), wires(Database(config), bus)).run()


if __name__ == "__main__":
    asyncio.run(main(PostgresConfig.model_validate_json(sys.argv[1]), sys.argv[2]))
