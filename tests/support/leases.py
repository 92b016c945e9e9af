"""Leases on a real database: managers as the control plane makes them, with limits of the test's own.

`python -m tests.support.leases race|hang CONFIG ARGUMENT` is another process that has one.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sqlalchemy import insert

from deployments.control.quotas.resources import TenantResourceManager
from models.errors import QuotaExceeded
from models.principal import Tier
from models.resources import Limits, Resource
from models.tenant import Tenant, TenantStatus
from storage.postgres.config import PostgresConfig
from storage.postgres.database import Database
from storage.postgres.resources import Refusal, Request
from storage.postgres.tables.people import TENANTS

TENANT = "acme"
CALLS = Resource.CONCURRENT_INFERENCES
MODELS = Resource.MODELS
LIMITS: dict[Resource, int] = {**dict.fromkeys(Resource, 100), CALLS: 10}


@dataclass
class Witnessed:
    """Remembers what was refused, in place of the audit."""

    refusals: list[tuple[str, str, Resource]] = field(default_factory=list)

    async def refused(self, tenant_id: str, refusals: Sequence[tuple[Request, Refusal]]) -> None:
        """Take note."""
        self.refusals += [(tenant_id, one.holder, why.shortage.resource) for one, why in refusals]


@dataclass
class Desk:
    """A manager, what it was told to allow, and what it refused. `limits` may be changed at any time."""

    manager: TenantResourceManager
    limits: dict[Resource, int]
    witnessed: Witnessed

    async def granted(self, calls: int, *, tenant: str = TENANT, amounts: Mapping[Resource, int]) -> int:
        """How many of so many concurrent requests were granted."""
        asked = (
            self.manager.allocate_resource(tenant, amounts, holder=f"user-{number}")
            for number in range(calls)
        )
        answers = await asyncio.gather(*asked, return_exceptions=True)
        wrong = [answer for answer in answers if isinstance(answer, BaseException)]
        assert all(isinstance(error, QuotaExceeded) for error in wrong), wrong
        return len(answers) - len(wrong)


@asynccontextmanager
async def desk(
    database: Database, *, limits: Limits = LIMITS, clock: Callable[[], int] | None = None
) -> AsyncIterator[Desk]:
    """A manager on connections that somebody else closes."""
    allowed, witnessed = dict(limits), Witnessed()

    async def limits_of(_: str) -> Limits:
        return allowed

    manager = TenantResourceManager(database, limits_of, witnessed, rng=random.SystemRandom(), clock=clock)
    try:
        yield Desk(manager, allowed, witnessed)
    finally:
        await manager.close()


async def add_tenants(database: Database, *tenant_ids: str) -> None:
    """Their rows, and nothing else."""
    for tenant_id in tenant_ids:
        tenant = Tenant(
            tenant_id=tenant_id,
            name=tenant_id,
            tier=Tier.PRO,
            status=TenantStatus.ACTIVE,
            entitled_until_ns=0,
            created_ns=1,
            changed_ns=1,
            version=1,
        )
        async with database.tenant(tenant_id) as connection:
            await connection.execute(insert(TENANTS), tenant.model_dump())


def say(what: object) -> None:
    """A line to whoever started this process."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def allocate_and_hang(config: str, ttl_s: str) -> None:
    """Take all of the tenant's calls, say so, and never come back."""

    async def hold() -> None:
        database = Database(PostgresConfig.model_validate_json(config))
        async with desk(database) as own:
            await own.manager.allocate_resource(TENANT, {CALLS: 10}, holder="crashed", ttl_s=float(ttl_s))
            say("held")
            time.sleep(600)  # noqa: ASYNC251 - hung is what it shall be, until it is killed

    asyncio.run(hold())


def race(config: str, calls: str) -> None:
    """Ask for one call so many times at once, as soon as a line comes in; say how many were granted."""

    async def run() -> None:
        database = Database(PostgresConfig.model_validate_json(config))
        async with desk(database) as own:
            await own.manager.standings(TENANT)
            say("ready")
            sys.stdin.readline()
            say(await own.granted(int(calls), amounts={CALLS: 1}))
        await database.close()

    asyncio.run(run())


if __name__ == "__main__":
    {"race": race, "hang": allocate_and_hang}[sys.argv[1]](*sys.argv[2:])
