"""Scorecard S7, quotas: the last one is granted once, and what a killed holder held becomes free."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from models.errors import QuotaExceeded
from storage.postgres.config import PostgresConfig
from storage.postgres.database import Database
from tests.support.eventually import eventually
from tests.support.leases import CALLS, TENANT, add_tenants, desk

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
async def nearly_full(database: Database) -> Database:
    """Nine of ten calls are taken, by the database's clock."""
    await add_tenants(database, TENANT)
    async with desk(database) as opened:
        await opened.manager.allocate_resource(TENANT, {CALLS: 9}, holder="early", ttl_s=3600)
    return database


def process(*arguments: str) -> subprocess.Popen[str]:
    """Another process with a manager of its own."""
    command = [sys.executable, "-m", "tests.support.leases", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def line(child: subprocess.Popen[str]) -> str:
    """What it says next."""
    assert child.stdout is not None
    return child.stdout.readline().strip()


async def test_managers_on_connections_of_their_own_race_for_the_last_one(
    postgres_config: PostgresConfig, nearly_full: Database
) -> None:
    """10 control planes, 10 callers each: exactly one of the hundred is granted."""
    others = [Database(postgres_config) for _ in range(10)]

    async def racing(other: Database) -> int:
        async with desk(other) as opened:
            return await opened.granted(10, amounts={CALLS: 1})

    granted = await asyncio.gather(*(racing(other) for other in others))
    await asyncio.gather(*(other.close() for other in others))
    assert sum(granted) == 1


async def test_processes_race_for_the_last_one(
    postgres_config: PostgresConfig, nearly_full: Database
) -> None:
    """3 processes, 34 callers each, released at the same moment: exactly one is granted."""
    children = [process("race", postgres_config.model_dump_json(), "34") for _ in range(3)]
    try:
        assert [line(child) for child in children] == ["ready"] * 3
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        granted = [int(line(child)) for child in children]
    finally:
        for child in children:
            child.kill()
            child.communicate()
    assert sum(granted) == 1


async def test_what_a_killed_process_held_is_free_when_its_lease_expires(
    postgres_config: PostgresConfig, database: Database
) -> None:
    """A holder of everything gets kill -9: refused with when to come back, and granted then."""
    await add_tenants(database, TENANT)
    child = process("hang", postgres_config.model_dump_json(), "4")
    try:
        assert line(child) == "held"
    finally:
        child.kill()
        child.communicate()
    async with desk(database) as own:
        with pytest.raises(QuotaExceeded) as refused:
            await own.manager.allocate_resource(TENANT, {CALLS: 1}, holder="next")
        assert 0 < (refused.value.retry_after_s or 0) <= 4

        async def granted() -> bool:
            return await own.granted(1, amounts={CALLS: 10}) == 1

        assert await eventually(granted)
        assert await own.granted(1, amounts={CALLS: 1}) == 0
