"""A thousand tenants in a row, each from the request that makes it to its owner's first answered request.

The hub is the whole of it, as `hub up` starts it, on Apache Kafka and the bundled PostgreSQL. Ready means
that the tenant is made, its owner has logged in with the password, and a gateway has answered the owner. The
peer is a schema of its own for each tenant, the other usual way to keep tenants apart: its tables alone, made
in the same server, before anybody is hashed, told or let in.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import httpx2
import psycopg

from benchmarks.harness import Benchmark, Report, VoidRunError, middle, percentile, spread
from models.errors import ConfigError
from serve_app.client import HubClient
from serve_app.hub import LocalHub
from serve_app.launch import local_settings, topics_ready
from serve_app.local_stack import LocalStack
from serve_app.local_tenants import CONTROL, admin_token
from serve_app.servers.postgres import SUPERUSER, PostgresProcess
from serve_app.settings import HubSettings

TENANTS: Final = 1000
BLOCK: Final = 50
PASSWORD: Final = "correct horse battery staple"  # noqa: S105 - of tenants that live for minutes
_TABLES: Final = ("users", "sessions", "api_keys", "invitations", "config", "leases", "usage", "audit")


def run(report: Report) -> None:
    """Start the hub, make the tenants, and the schemas between them."""
    with LocalStack(broker="kafka", tenants=True, progress=_tell) as stack:
        if stack.postgres is None:
            raise ConfigError("the stack has no PostgreSQL")
        settings = local_settings(stack, "kafka")
        topics_ready(settings, create=True)
        hub = LocalHub(settings, dashboard=False, progress=_quiet)
        try:
            hub.start()
            asyncio.run(_measure(report, hub, settings, stack.postgres))
        finally:
            hub.stop()


async def _measure(report: Report, hub: LocalHub, settings: HubSettings, server: PostgresProcess) -> None:
    watching = asyncio.create_task(report.validity.watch_loop())
    made, ready, schemas = await asyncio.to_thread(_rounds, hub, settings, server)
    watching.cancel()
    report.add("made_p50_s", middle(made), "s, request to answer, one after the other")
    report.add("made_p99_s", percentile(made, 99), "s, the same at p99")
    report.add("p50_s", middle(ready), f"s, to the owner's first answered request, {len(ready)} tenants")
    report.add("p99_s", percentile(ready, 99), "s, the same at p99")
    report.add("growth", middle(ready[-100:]) / middle(ready[:100]), "x, the last hundred over the first")
    report.add("peer_p50_s", middle(schemas), f"s, a schema of {len(_TABLES)} tables for each tenant")
    report.add("peer_p99_s", percentile(schemas, 99), "s, the same at p99")
    report.add("aa_spread", spread(schemas[::2], schemas[1::2]), "share, schemas against each other")


def _rounds(
    hub: LocalHub, settings: HubSettings, server: PostgresProcess
) -> tuple[list[float], list[float], list[float]]:
    """Blocks of tenants and of schemas in turn."""
    made: list[float] = []
    ready: list[float] = []
    schemas: list[float] = []
    dsn = f"postgresql://{SUPERUSER}:{server.home.password_file.read_text()}@{server.address}/postgres"
    with psycopg.connect(dsn) as connection:
        for block in range(TENANTS // BLOCK):
            with HubClient(hub.url, admin_token(settings, hub.url)) as admin:
                for number in range(block * BLOCK, (block + 1) * BLOCK):
                    begun = time.perf_counter()
                    _make(admin, f"t{number}")
                    made.append(time.perf_counter() - begun)
                    _first_answer(hub.url, f"t{number}")
                    ready.append(time.perf_counter() - begun)
            schemas += [
                _schema(connection, f"s{number}") for number in range(block * BLOCK, (block + 1) * BLOCK)
            ]
    return made, ready, schemas


def _make(admin: HubClient, name: str) -> None:
    owner = {"login": "owner", "name": "Owner", "password": PASSWORD}
    admin.call(
        "POST", f"{CONTROL}/tenants", body={"tenant_id": name, "name": name, "tier": "pro", "owner": owner}
    )


def _first_answer(url: str, name: str) -> None:
    """Log in, and ask the gateway. Each owner comes from an address of its own, as customers do: one address
    may try two passwords a second, and no more.
    """
    body = {"tenant": name, "login": "owner", "password": PASSWORD}
    number = int(name.removeprefix("t"))
    address = f"127.0.{number // 250 + 1}.{number % 250 + 1}"
    with HubClient(url, None, transport=httpx2.HTTPTransport(local_address=address)) as nobody:
        token: str = nobody.call("POST", f"{CONTROL}/auth/login", body=body)["access_token"]
    with HubClient(url, token) as owner:
        config: dict[str, Any] = owner.call("GET", f"/config/{name}")
    if config["tenant_id"] != name:
        raise VoidRunError(f"the config of {name} was that of {config['tenant_id']}")


def _schema(connection: psycopg.Connection[Any], name: str) -> float:
    begun = time.perf_counter()
    with connection.transaction():
        connection.execute(f"CREATE SCHEMA {name}")
        for table in _TABLES:
            columns = "id text PRIMARY KEY, name text NOT NULL, at_ns bigint NOT NULL"
            connection.execute(f"CREATE TABLE {name}.{table} ({columns})")
    return time.perf_counter() - begun


def _tell(text: str) -> None:
    print(f"  {text}")


def _quiet(_: str) -> None:
    """The hub's own steps are not the benchmark's."""


BENCHMARK = Benchmark("provision", "How long until a new tenant is ready to use, a thousand in a row?", run)
