"""A streaming replica of a test's PostgreSQL, and what goes wrong with one."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg

from serve_app.servers.postgres import SUPERUSER, PostgresProcess, serving
from storage.postgres.config import PostgresConfig
from tests.support.postgres import PostgresServer

_SETTINGS = {
    "fsync": "off",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",  # not fewer than the primary's, or it does not start
    "wal_retrieve_retry_interval": "100ms",
}


@dataclass(frozen=True)
class StreamingReplica:
    """A replica of all databases of the server."""

    process: PostgresProcess
    primary: PostgresServer

    def of(self, config: PostgresConfig) -> PostgresConfig:
        """The same database with this replica."""
        return config.model_copy(update={"replica": self.process.address})

    @contextmanager
    def frozen_replay(self) -> Iterator[None]:
        """It goes on answering, and learns nothing."""
        self.ask("SELECT pg_wal_replay_pause()")
        try:
            yield
        finally:
            self.ask("SELECT pg_wal_replay_resume()")

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Its processes stop: connections are made by the kernel and nobody answers."""
        postmaster = self.process.pid
        assert postmaster
        stopped = [postmaster, *_children(postmaster)]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def has_all(self) -> bool:
        """Whether it has what was written until now."""
        with psycopg.connect(self.primary.dsn()) as connection:
            written = connection.execute("SELECT pg_current_wal_flush_lsn()").fetchone()
        assert written
        (replayed,) = self.ask("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", written[0])
        return bool(replayed)

    def ask(self, question: str, *given: object) -> tuple[object, ...]:
        """The row of an administrator's question."""
        dsn = self.primary.dsn().replace(self.primary.process.address, self.process.address)
        with psycopg.connect(dsn, autocommit=True) as connection:
            row = connection.execute(question.encode(), given).fetchone()
        assert row
        return row


@contextmanager
def streaming_replica(primary: PostgresServer, *, name: str = "replica") -> Iterator[StreamingReplica]:
    """A replica of a running server, for as long as the block lasts."""
    home = primary.process.home
    copy = replace(home, data=home.data.with_name(name), log=home.log.with_name(f"{name}.log"))
    password = home.password_file.read_text()
    home.run(
        "pg_basebackup", "--pgdata", str(copy.data), "--write-recovery-conf", "--wal-method", "stream",
        "--checkpoint", "fast", "--no-sync", "--dbname",
        f"host=127.0.0.1 port={primary.process.port} user={SUPERUSER} password={password}",
    )  # fmt: skip
    process = serving(copy, _SETTINGS)
    process.start()
    try:
        process.wait_ready()
        yield StreamingReplica(process, primary)
    finally:
        process.stop()


def _children(parent: int) -> Iterator[int]:
    """PostgreSQL's processes each lead a session of their own: no signal to the group reaches them."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                yield int(stat.parent.name)
