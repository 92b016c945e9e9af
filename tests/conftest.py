"""Fixtures every tier may ask for: real servers, each started once per run and only if somebody asks.

A test that kills or freezes a server starts one of its own (`serve_app.servers`); these are shared.
"""

from __future__ import annotations

import os
import re
import signal
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from models.errors import ConfigError
from serve_app.servers.apache_kafka import apache_kafka
from serve_app.servers.bundled import nats, tansu, valkey
from serve_app.servers.process import ServerProcess
from storage.postgres.config import PostgresConfig
from storage.postgres.database import Database
from tests.support.postgres import PostgresServer, postgres_server

NO_KAFKA = "no Apache Kafka: "
REQUIRE_KAFKA = "HUB_REQUIRE_KAFKA"


def pytest_configure() -> None:
    """Hear Ctrl-C: a run that a shell started in the background is made deaf to it, and would pass that on to
    the hubs that it starts and then interrupts.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def servers_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the run's shared servers keep logs and data."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def nats_url(servers_dir: Path) -> Iterator[str]:
    """A NATS server with JetStream."""
    with _running(nats(servers_dir)) as address:
        yield f"nats://{address}"


@pytest.fixture(scope="session")
def redis_url(servers_dir: Path) -> Iterator[str]:
    """A Valkey server."""
    with _running(valkey(servers_dir)) as address:
        yield f"redis://{address}/0"


@pytest.fixture(scope="session")
def tansu_bootstrap(servers_dir: Path) -> Iterator[str]:
    """The bundled broker: Kafka protocol, in memory, no idempotent producers."""
    with _running(tansu(servers_dir)) as address:
        yield address


@pytest.fixture(scope="session")
def postgres_run(servers_dir: Path) -> Iterator[PostgresServer]:
    """A PostgreSQL server with a migrated template database."""
    with postgres_server(servers_dir / "postgres-run") as server:
        yield server


@pytest.fixture
def postgres_config(postgres_run: PostgresServer) -> Iterator[PostgresConfig]:
    """A migrated database of the test's own."""
    with postgres_run.clone() as config:
        yield config


@pytest.fixture
async def database(postgres_config: PostgresConfig) -> AsyncIterator[Database]:
    """The hub's way into the test's own database."""
    opened = Database(postgres_config)
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
def kafka_bootstrap(servers_dir: Path) -> Iterator[str]:
    """Apache Kafka. Where it cannot run, its tests are skipped with the reason, or fail if it is required."""
    try:
        server = apache_kafka(servers_dir)
    except ConfigError as error:
        without_kafka(error.message)
        raise
    with _running(server) as address:
        yield address


def without_kafka(reason: str) -> None:
    """Skip the test, or fail it where HUB_REQUIRE_KAFKA=1 says that Kafka must be there."""
    if os.environ.get(REQUIRE_KAFKA) == "1":
        pytest.fail(f"{NO_KAFKA}{reason} ({REQUIRE_KAFKA}=1)")
    pytest.skip(f"{NO_KAFKA}{reason}")


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Makes names of topics, subjects or keys that no other test uses: `unique("orders")`."""
    test = re.sub(r"[^A-Za-z0-9]+", "-", request.node.name).strip("-")[:40]

    def name(prefix: str) -> str:
        return f"{prefix}-{test}-{uuid.uuid4().hex[:8]}"

    return name


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what a run without Apache Kafka did not cover."""
    skipped = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    missed = sum(NO_KAFKA in reason for reason in skipped)
    if missed:
        terminalreporter.section("not covered", yellow=True)
        terminalreporter.line(
            f"{missed} tests need Apache Kafka and were skipped: durability, idempotent producers and fencing"
            " were checked on the memory bus and the bundled broker only."
        )
        terminalreporter.line("Install Java 17+ and Maven to run them, as CI does.")


@contextmanager
def _running(server: ServerProcess) -> Iterator[str]:
    server.start()
    try:
        server.wait_ready()
        yield server.address
    finally:
        server.stop()
