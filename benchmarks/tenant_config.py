"""What a tenant's config costs: looked up inside a service and by HTTP, with 10 and with 10,000 tenants; and
how soon a change is known elsewhere.

A lookup is of a random tenant and user, with one value taken out of it. By HTTP the gateway's application
runs behind uvicorn in a process of its own, with 10,000 tenants, each request for another of them; its peer
is an empty endpoint of the same application, with the same token through the same middleware and the same
check of the permission, in turns on the same connection. A change goes to the control plane over HTTP, from
there through PostgreSQL and Apache Kafka into this process's own copy.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

from benchmarks.broker import broker
from benchmarks.child import Child, child
from benchmarks.harness import Benchmark, Report, VoidRunError, middle, percentile, spread
from benchmarks.tenant_config_records import tenants
from deployments.front.limits import load_tiers
from deployments.front.tenant_config.view import TenantConfigView
from deployments.front.tenants_tail import TenantsTail
from messaging.config import KafkaConfig
from messaging.connect import open_bus
from storage.postgres.config import PostgresConfig
from tests.support.control import TIERS
from tests.support.postgres import TEMPLATE, postgres_server

FEW: Final = 10
MANY: Final = 10_000
ROUNDS: Final = 20
LOOKUPS: Final = 5_000
REQUESTS: Final = 400
CHANGES: Final = 100
_SEEN_S: Final = 10.0


def run(report: Report) -> None:
    """Local, by HTTP, and from process to process."""
    _local(report)
    asyncio.run(_http(report))
    with (
        tempfile.TemporaryDirectory(prefix="central-hub-") as scratch,
        broker() as (kafka, _),
        postgres_server(Path(scratch)) as postgres,
    ):
        asyncio.run(_propagation(report, kafka, postgres.config(TEMPLATE)))


def _local(report: Report) -> None:
    views = {"few": tenants(FEW).view, "again": tenants(FEW).view, "many": tenants(MANY).view}
    counts = {"few": FEW, "again": FEW, "many": MANY}
    rng = Random(3)
    taken: dict[str, list[list[float]]] = {name: [] for name in views}
    for number in range(ROUNDS + 1):
        for name, view in views.items():
            report.validity.pause()
            times = _lookups(view, [rng.randrange(counts[name]) for _ in range(LOOKUPS)])
            taken[name] += [times] if number else []  # the first round warms up
    p50 = {name: middle([middle(times) for times in rounds]) for name, rounds in taken.items()}
    p99 = {name: middle([percentile(times, 99) for times in rounds]) for name, rounds in taken.items()}
    report.add("local_p50_ms", p50["many"], f"ms a lookup of a tenant and user, {MANY:,} tenants, p50")
    report.add("local_p99_ms", p99["many"], f"ms, the same at p99, middle of {ROUNDS} rounds of {LOOKUPS:,}")
    report.add("growth", p50["many"] / p50["few"], f"x, p50 with {MANY:,} tenants over {FEW}")
    report.add("growth_p99", p99["many"] / p99["few"], "x, the same of p99")
    report.add("growth_aa", p50["again"] / p50["few"], f"x, p50 with {FEW} tenants over itself")
    report.add("kept_kb", _kept_kb(views["many"]), f"kB that looking up {MANY:,} tenants leaves behind")


def _lookups(view: TenantConfigView, numbers: Sequence[int]) -> list[float]:
    """Milliseconds of each."""
    names = [(f"t{number}", f"u-{number}") for number in numbers]
    times = []
    for tenant_id, user_id in names:
        begun = time.perf_counter_ns()
        found = view.of(tenant_id, user_id)
        value = found["risk.scale"] if found else None
        times.append((time.perf_counter_ns() - begun) / 1e6)
        if value != 0.1:
            raise VoidRunError(f"the lookup of {tenant_id} gave {value}")
    return times


def _kept_kb(view: TenantConfigView) -> float:
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(MANY):
        view.of(f"t{number}", f"u-{number}")
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return kept / 1e3


async def _http(report: Report) -> None:
    async with (
        child("benchmarks.tenant_config_server", ["gateway", str(MANY)]) as server,
        _connected(server) as connection,
    ):
        rng = Random(5)
        watching = asyncio.create_task(report.validity.watch_loop())
        taken: dict[str, list[list[float]]] = {"empty": [], "config": [], "again": []}
        for number in range(ROUNDS + 1):
            for name in ("empty", "config", "again"):
                config = [f"/config/t{rng.randrange(MANY)}" for _ in range(REQUESTS)]
                paths = config if name == "config" else ["/empty"] * REQUESTS
                times = [await connection.timed(path) for path in paths]
                taken[name] += [times] if number else []
        watching.cancel()
    p99 = {name: middle([percentile(times, 99) for times in rounds]) for name, rounds in taken.items()}
    p50 = {name: middle([middle(times) for times in rounds]) for name, rounds in taken.items()}
    report.add(
        "http_p50_ms", p50["config"], f"ms, GET /config/{{tenant_id}}, each of another of {MANY:,}, p50"
    )
    report.add("http_p99_ms", p99["config"], f"ms, the same at p99, middle of {ROUNDS} rounds of {REQUESTS}")
    report.add("empty_p99_ms", p99["empty"], "ms, an empty endpoint of the same application, p99")
    report.add("http_p50_ratio", p50["config"] / p50["empty"], "x, ours over the empty one, p50")
    report.add("http_p99_ratio", p99["config"] / p99["empty"], "x, ours over the empty one, p99")
    report.add(
        "http_aa_spread", spread([p99["empty"]], [p99["again"]]), "share, the empty one against itself"
    )


class Connection:
    """One HTTP/1.1 connection that is kept, and one request after the other, with little of our own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str) -> None:
        self._reader = reader
        self._writer = writer
        self._head = f"Host: hub\r\nAuthorization: Bearer {token}\r\n"

    async def timed(self, path: str) -> float:
        """Milliseconds of one GET; VoidRunError if it is not answered well."""
        begun = time.perf_counter()
        status, _ = await self.ask("GET", path)
        if status != 200:
            raise VoidRunError(f"{path} was answered with {status}")
        return (time.perf_counter() - begun) * 1e3

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body."""
        typed = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        self._writer.write(f"{method} {path} HTTP/1.1\r\n{self._head}{typed}\r\n".encode() + body)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        return int(head.split(b" ", 2)[1]), await self._reader.readexactly(length)


@asynccontextmanager
async def _connected(server: Child) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.ready["port"])
    try:
        yield Connection(reader, writer, server.ready["token"])
    finally:
        writer.close()


async def _propagation(report: Report, kafka: str, postgres: PostgresConfig) -> None:
    arguments = ["control", kafka, postgres.model_dump_json()]
    async with (
        child("benchmarks.tenant_config_server", arguments) as server,
        _connected(server) as control,
    ):
        acknowledged, sent = await _changes(report, kafka, control, server.ready["tenant"])
    report.add("propagation_s", max(acknowledged), f"s, acknowledged to seen elsewhere, worst of {CHANGES}")
    report.add("propagation_p50_s", middle(acknowledged), "s, the same, p50")
    report.add("sent_to_seen_s", max(sent), "s, request sent to seen elsewhere, worst")
    report.add("sent_to_seen_p50_s", middle(sent), "s, the same, p50")


async def _changes(
    report: Report, kafka: str, control: Connection, tenant: dict[str, Any]
) -> tuple[list[float], list[float]]:
    """Seconds from each acknowledgement, and from each request, until this process knows of the change."""
    bus = await open_bus(KafkaConfig(bootstrap=kafka, fetch_max_wait_ms=50), client_id="benchmark")
    tail = TenantsTail(bus, clock=time.time_ns, rng=Random(1))
    view = TenantConfigView(tail.fold, tiers=load_tiers(TIERS), environment="production")
    tasks = [asyncio.create_task(tail.run()), asyncio.create_task(report.validity.watch_loop())]
    status, body = await control.ask("POST", "/tenants", json.dumps(tenant).encode())
    if status != 201:
        raise VoidRunError(f"the tenant was not made: {body!r}")
    acknowledged, sent = [], []
    for number in range(CHANGES):
        wanted = (number + 1) / 1000
        change = json.dumps({"config": {"risk.scale": wanted}}).encode()
        begun = time.perf_counter()
        seen = asyncio.create_task(_seen(view, tenant["tenant_id"], wanted))
        status, body = await control.ask("PATCH", f"/tenants/{tenant['tenant_id']}/config", change)
        answered = time.perf_counter()
        if status != 200:
            raise VoidRunError(f"a change was refused: {body!r}")
        at = await seen
        acknowledged.append(max(0.0, at - answered))
        sent.append(at - begun)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await bus.close()
    return acknowledged, sent


async def _seen(view: TenantConfigView, tenant_id: str, wanted: float) -> float:
    """When the copy shows it, to the millisecond."""
    async with asyncio.timeout(_SEEN_S):
        while not ((found := view.of(tenant_id)) and found["risk.scale"] == wanted):  # noqa: ASYNC110
            await asyncio.sleep(0.001)  # the copy is looked at as a service does, without being told
    return time.perf_counter()


BENCHMARK: Final = Benchmark(
    name="tenant_config",
    question="What does looking up a tenant's config cost, and how soon is a change known everywhere?",
    run=run,
)
