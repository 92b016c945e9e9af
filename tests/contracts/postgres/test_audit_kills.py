"""kill -9 in the middle of changes: what is committed has its entry, and the chain has no gap."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time

import orjson
from sqlalchemy import select

from storage.audit_signature import HeadVerifier
from storage.postgres.audit_check import AuditCheck, Vouchers
from storage.postgres.config import PostgresConfig
from storage.postgres.database import Database
from storage.postgres.tables.audit import AUDIT_ENTRIES
from storage.postgres.tables.people import ANNOUNCEMENTS
from tests.support.audit import SIGNER

KILLS = 6


def _killed(config: PostgresConfig, rng: random.Random) -> set[str]:
    """Start a writer, kill it some changes later; the changes that it was told are committed."""
    command = [sys.executable, "-m", "tests.support.audit_writer", config.model_dump_json(), "acme"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout
        told = {writer.stdout.readline().strip() for _ in range(rng.randint(5, 60))}
        time.sleep(rng.random() / 100)  # somewhere between two lines, in the middle of other changes
        writer.send_signal(signal.SIGKILL)
        told |= {line.strip() for line in writer.stdout if line.endswith("\n")}
    return told


async def test_no_gap_under_kill_9(database: Database, postgres_config: PostgresConfig) -> None:
    """Six writers one after the other: rows and entries are the same set, all told ones among them."""
    rng = random.Random(7)
    told = set().union(*(_killed(postgres_config, rng) for _ in range(KILLS)))

    async with database.platform() as connection:
        keys = (await connection.execute(select(ANNOUNCEMENTS.c.key))).scalars()
        rows = {orjson.loads(key)[2] for key in keys}
        entries = list((await connection.execute(select(AUDIT_ENTRIES.c.object))).scalars())
        report = await AuditCheck(connection, Vouchers(HeadVerifier(SIGNER.public_keys))).run(["acme"])

    assert told <= rows
    assert len(entries) == len(rows)
    assert set(entries) == rows
    assert (report.entries, report.faults) == (len(rows), 0)
