"""What the audit log costs a change, and how long it takes to check a million entries.

An append is one statement in the transaction of the change. Its peer is the same transaction with a statement
in its place that only goes there and back; both take turns on one connection each, in one run. The server is
the bundled one without durable commits, so that what is measured is the log and not the disk; the time of a
commit is the same for both.

The check is of ten logs of 100,000 entries, with a signed head each, as `hub audit verify` does it. Then one
entry is altered, and the check must name it: a check that finds nothing proves nothing.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from benchmarks.harness import Benchmark, Report, VoidRunError, percentile
from models.audit import AuditReport, Fault
from storage.audit_signature import HeadVerifier
from storage.postgres import audit
from storage.postgres.audit_check import AuditCheck, Vouchers, tenants
from storage.postgres.config import PostgresConfig
from storage.postgres.database import Database
from tests.support.audit import SIGNER, entry, fill, signed, superuser
from tests.support.postgres import PostgresServer, postgres_server

TENANTS: Final = 10
EACH: Final = 100_000
APPENDS: Final = 3_000
WARM: Final = 300
_TENANT: Final = "bench"
_THERE_AND_BACK: Final = text("SELECT 1")

Statement = Callable[[AsyncConnection, int], Awaitable[object]]


def run(report: Report) -> None:
    """Appends first, then the check."""
    with tempfile.TemporaryDirectory() as directory, postgres_server(Path(directory) / "pg") as server:
        with server.clone() as config:
            asyncio.run(_appends(report, config))
        with server.clone() as config:
            _verify(report, server, config)


async def _appends(report: Report, config: PostgresConfig) -> None:
    database = Database(config)
    ways: dict[str, Statement] = {
        "append": lambda connection, number: audit.append(connection, _TENANT, entry(number)),
        "peer": lambda connection, _: connection.execute(_THERE_AND_BACK),
        "peer again": lambda connection, _: connection.execute(_THERE_AND_BACK),
    }
    took_ms: dict[str, list[float]] = {name: [] for name in ways}
    lag = asyncio.create_task(report.validity.watch_loop())
    for number in range(APPENDS + WARM):
        for name, statement in ways.items():
            took = await _timed(database, statement, number)
            took_ms[name] += [took] if number >= WARM else []
    lag.cancel()
    await database.close()
    p99 = {name: percentile(found, 99) for name, found in took_ms.items()}
    p50 = {name: percentile(found, 50) for name, found in took_ms.items()}
    report.add("append_p50_ms", p50["append"] - p50["peer"], "ms beyond the round trip")
    report.add("append_p99_ms", p99["append"] - p99["peer"], "ms beyond the round trip; aim 1")
    report.add("round_trip_p99_ms", p99["peer"], "ms there and back in the same kind of transaction")
    report.add("aa_p99_ms", abs(p99["peer"] - p99["peer again"]), "ms, the round trip against itself")


async def _timed(database: Database, statement: Statement, number: int) -> float:
    """Milliseconds of the statement alone, inside its transaction."""
    async with database.tenant(_TENANT) as connection:
        begun = time.perf_counter()
        await statement(connection, number)
        return (time.perf_counter() - begun) * 1e3


def _verify(report: Report, server: PostgresServer, config: PostgresConfig) -> None:
    names = [f"tenant-{number}" for number in range(TENANTS)]
    with superuser(server, config) as connection:
        heads = [head for name in names for head in signed(name, fill(connection, name, EACH), EACH)]
        connection.execute("VACUUM ANALYZE hub.audit_entries")
        vouchers = Vouchers(HeadVerifier(SIGNER.public_keys), heads)
        begun = time.perf_counter()
        sound = asyncio.run(_checked(config, vouchers))
        took_s = time.perf_counter() - begun
        connection.execute(
            "UPDATE hub.audit_entries SET actor = 'x' WHERE tenant_id = 'tenant-7' AND sequence = 77777"
        )
        altered = asyncio.run(_checked(config, vouchers))
    if (sound.entries, sound.faults, sound.unsigned) != (TENANTS * EACH, 0, 0):
        raise VoidRunError(f"the check of {TENANTS * EACH:,} sound entries said {sound}")
    found = [(one.fault, one.tenant_id, one.sequence) for one in altered.findings]
    if found != [(Fault.ALTERED, "tenant-7", 77_777)]:
        raise VoidRunError(f"one altered entry, and the check found {found}")
    report.add("verify_s", took_s, f"s to check {TENANTS * EACH:,} entries of {TENANTS} logs; aim 10")
    report.add("verify_per_s", TENANTS * EACH / took_s, "entries a second")


async def _checked(config: PostgresConfig, vouchers: Vouchers) -> AuditReport:
    database = Database(config)
    try:
        async with database.platform() as connection:
            return await AuditCheck(connection, vouchers).run(await tenants(connection))
    finally:
        await database.close()


BENCHMARK: Final = Benchmark(
    name="audit",
    question="What does an audit entry cost a change, and how long does a check of 1,000,000 take?",
    run=run,
)
