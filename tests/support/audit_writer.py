"""A process that changes something again and again, each change with its audit entry, until it is killed.

`python -m tests.support.audit_writer CONFIG TENANT`: prints the number of a change once it is committed.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time

from models.audit import AuditEntry
from models.tenant import Kind
from storage.postgres import audit
from storage.postgres.announcements import mark
from storage.postgres.config import PostgresConfig
from storage.postgres.database import Database


async def change(database: Database, tenant_id: str, number: int) -> None:
    """A row and its entry, in one transaction."""
    async with database.tenant(tenant_id) as connection:
        await mark(connection, tenant_id, Kind.USER, tenant_id, str(number), now_ns=number)
        entry = AuditEntry(actor="writer", action="test.change", object=str(number), at_ns=time.time_ns())
        await audit.append(connection, tenant_id, entry)


async def main(config: PostgresConfig, tenant_id: str) -> None:
    """Four changes at a time, numbered from the process's own start."""
    database, numbers = Database(config), itertools.count(time.time_ns())

    async def write() -> None:
        for number in numbers:
            await change(database, tenant_id, number)
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()

    await asyncio.gather(*(write() for _ in range(4)))


if __name__ == "__main__":
    asyncio.run(main(PostgresConfig.model_validate_json(sys.argv[1]), sys.argv[2]))
