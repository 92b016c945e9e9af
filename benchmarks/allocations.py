"""How many leases 64 clients allocate and release a second, on a PostgreSQL that syncs what it commits.

`allocations_per_s` is of 64 clients of one tenant, the worst case for locks; `spread_per_s` is of as many
tenants, the worst case for batches. The peer reads the row FOR UPDATE, looks, and writes, in a transaction
for each caller; it takes turns with itself, for the spread. `refused_per_s` is of clients of which none is
granted anything. Clients, manager and server share this machine.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, Final

import uvloop
from sqlalchemy import Select, Update, delete, insert, select, update

from benchmarks.harness import Benchmark, Report, VoidRunError, middle
from deployments.control.quotas.resources import TenantResourceManager
from models.errors import DatabaseAway, QuotaExceeded
from models.ids import random_id
from models.resources import Limits, Resource
from storage.postgres.config import PostgresConfig
from storage.postgres.database import Database
from storage.postgres.resources import Refusal, Request
from storage.postgres.tables.people import TENANTS
from storage.postgres.tables.resources import LEASES, RESOURCE_USE
from tests.support.postgres import postgres_server

CLIENTS: Final = 64
ROUNDS: Final = 5
PAIRS: Final = 1_500
PEER_PAIRS: Final = 300
REFUSALS: Final = 3_000
_CALLS: Final = Resource.CONCURRENT_INFERENCES
_LIMIT: Final = 1_000
_NS: Final = 10**9

Pair = Callable[[str], Awaitable[None]]
"""Allocates in a tenant, and releases."""


class Silent:
    """Hears of refusals and writes none down: the audit has figures of its own."""

    async def refused(self, tenant_id: str, refusals: Sequence[tuple[Request, Refusal]]) -> None:
        """Nothing to do."""


class Peer:
    """Check, then act, in statements of their own under the row's lock."""

    def __init__(self, database: Database, rng: Random) -> None:
        self._database = database
        self._rng = rng

    async def pair(self, tenant: str) -> None:
        """Allocate one, then release it."""
        lease_id = random_id(self._rng)
        async with self._database.tenant(tenant) as connection:
            held = (await connection.execute(self._locked(tenant))).scalar_one()
            if held.get(_CALLS, 0) + 1 > _LIMIT:
                raise QuotaExceeded("the limit is reached")
            await connection.execute(insert(LEASES), _row(tenant, lease_id))
            await connection.execute(self._written(tenant, held.get(_CALLS, 0) + 1))
        async with self._database.tenant(tenant) as connection:
            held = (await connection.execute(self._locked(tenant))).scalar_one()
            gone = delete(LEASES).where(LEASES.c.tenant_id == tenant, LEASES.c.lease_id == lease_id)
            await connection.execute(gone)
            await connection.execute(self._written(tenant, held[_CALLS] - 1))

    def _locked(self, tenant: str) -> Select[Any]:
        return select(RESOURCE_USE.c.in_use).where(RESOURCE_USE.c.tenant_id == tenant).with_for_update()

    def _written(self, tenant: str, amount: int) -> Update:
        return update(RESOURCE_USE).where(RESOURCE_USE.c.tenant_id == tenant).values(in_use={_CALLS: amount})


def run(report: Report) -> None:
    """A server of its own, then the ways in turn."""
    with (
        tempfile.TemporaryDirectory(prefix="central-hub-") as scratch,
        postgres_server(Path(scratch), durable=True) as server,
        server.clone() as config,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        try:
            runner.run(_measure(report, config))
        except DatabaseAway as error:
            raise VoidRunError(f"the server was held up: {error.message}") from error


async def _measure(report: Report, config: PostgresConfig) -> None:
    database = Database(config)
    limits: Limits = {**dict.fromkeys(Resource, 0), _CALLS: _LIMIT}
    tenants = await _tenants(database)

    async def limits_of(_: str) -> Limits:
        return limits

    manager = TenantResourceManager(database, limits_of, Silent(), rng=Random(1))
    watch = asyncio.create_task(report.validity.watch_loop())
    try:
        await _rates(report, manager, Peer(database, Random(2)), tenants)
        await _check_all_is_free(manager, tenants)
    finally:
        watch.cancel()
        await manager.close()
        await database.close()


async def _rates(report: Report, manager: TenantResourceManager, peer: Peer, tenants: Sequence[str]) -> None:
    async def pair(tenant: str) -> None:
        await manager.release_resource(await manager.allocate_resource(tenant, {_CALLS: 1}, holder="client"))

    async def refused(tenant: str) -> None:
        with suppress(QuotaExceeded):
            await manager.allocate_resource(tenant, {Resource.MODELS: 1}, holder="client")

    one = tenants[:1]
    ways: Mapping[str, tuple[Pair, Sequence[str], int]] = {
        "hub": (pair, one, PAIRS),
        "peer": (peer.pair, one, PEER_PAIRS),
        "peer again": (peer.pair, one, PEER_PAIRS),
        "spread": (pair, tenants, PEER_PAIRS),
        "refused": (refused, one, REFUSALS),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(ROUNDS + 1):
        for name, (way, where, times) in ways.items():
            rate = await _per_s(way, where, times)
            rates[name] += [rate] if number else []  # the first round warms up
    _add(report, {name: middle(found) for name, found in rates.items()})


async def _per_s(way: Pair, tenants: Sequence[str], times: int) -> float:
    """So many pairs, shared by the clients, each of which does one after the other."""

    async def client(number: int) -> None:
        for _ in range(number, times, CLIENTS):
            await way(tenants[number % len(tenants)])

    begun = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return times / (time.perf_counter() - begun)


def _add(report: Report, rates: Mapping[str, float]) -> None:
    report.add("allocations_per_s", rates["hub"], f"pairs a second, {CLIENTS} clients of one tenant")
    report.add("spread_per_s", rates["spread"], f"the same, clients of {CLIENTS} tenants")
    report.add("refused_per_s", rates["refused"], "requests a second of which none is granted")
    report.add("lock_then_write_per_s", rates["peer"], "pairs a second, SELECT FOR UPDATE and writes")
    report.add("peer_ratio", rates["hub"] / rates["peer"], "x, ours over the peer's")
    report.add("aa_ratio", rates["peer"] / rates["peer again"], "x, the peer over itself")


async def _check_all_is_free(manager: TenantResourceManager, tenants: Sequence[str]) -> None:
    """Whoever lost count has not done the same work."""
    for tenant in tenants:
        held = [standing for standing in await manager.standings(tenant) if standing.in_use]
        if held:
            raise VoidRunError(f"all was released, yet {tenant} holds {held[0].in_use} {held[0].resource}")


async def _tenants(database: Database) -> list[str]:
    """Their rows, the sum of what they hold included: the peer does not make it."""
    names = [f"tenant-{number}" for number in range(CLIENTS)]
    for name in names:
        tenant = {"tenant_id": name, "name": name, "tier": "pro", "status": "active", "version": 1}
        moments = {"entitled_until_ns": 0, "created_ns": 1, "changed_ns": 1}
        async with database.tenant(name) as connection:
            await connection.execute(insert(TENANTS), tenant | moments)
            none = {"tenant_id": name, "in_use": {}, "next_expiry_ns": 2**63 - 1}
            await connection.execute(insert(RESOURCE_USE), none)
    return names


def _row(tenant: str, lease_id: str) -> dict[str, object]:
    now_ns = time.time_ns()
    return {
        "tenant_id": tenant,
        "lease_id": lease_id,
        "holder": "client",
        "amounts": {_CALLS: 1},
        "created_ns": now_ns,
        "expires_ns": now_ns + 60 * _NS,
    }


BENCHMARK: Final = Benchmark(
    name="allocations",
    question="How many leases do 64 clients allocate and release a second?",
    run=run,
)
