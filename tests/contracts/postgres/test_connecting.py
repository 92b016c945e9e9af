"""Who gives up while a connection is made leaves none behind."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from storage.postgres.config import PostgresConfig
from storage.postgres.database import Database
from tests.support.eventually import eventually


@pytest.fixture
def no_collections() -> Iterator[None]:
    """As a busy server, which seldom collects what points to itself."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def _sockets() -> set[str]:
    """The sockets that this process holds open."""
    found = set()
    for one in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.add(str(one.readlink()))
    return {name for name in found if name.startswith("socket:")}


@pytest.mark.usefixtures("no_collections")
async def test_nothing_is_left_of_those_who_gave_up(postgres_config: PostgresConfig) -> None:
    """A hundred callers that come and go at random moments: no socket stays, and the next one is served."""
    rng, before = random.Random(7), _sockets()
    for _ in range(100):
        database = Database(postgres_config)
        with suppress(TimeoutError):
            async with asyncio.timeout(rng.uniform(0.0, 0.012)), database.tenant("acme") as connection:
                await connection.execute(text("SELECT 1"))
        await database.close()

    await eventually(lambda: not _sockets() - before)
    served = Database(postgres_config)
    async with served.tenant("acme") as connection:
        assert await connection.scalar(text("SELECT 1")) == 1
    await served.close()
