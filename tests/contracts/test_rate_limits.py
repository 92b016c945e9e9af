"""Scorecard S7: several gateways, one counter. On the memory store and on Valkey, with one killed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from deployments.front.limits import Admission, RateLimiter, Tiers, load_tiers
from models.principal import Principal, Tier
from serve_app.servers.bundled import valkey
from storage.memory import MemoryFastStore
from storage.ports import FastStore
from storage.redis_store import RedisConfig, RedisFastStore

GATEWAYS = 4
TIER = "{tenant: 200/hour, user: 50/hour, sockets: 1}"
TIERS: Tiers = load_tiers(f"tiers: {{free: {TIER}, pro: {TIER}, enterprise: {TIER}, service: {TIER}}}")


def limiter_on(store: FastStore) -> RateLimiter:
    """One gateway's limiter."""
    return RateLimiter(TIERS, shared=store, local=MemoryFastStore(time.time_ns), gateways=GATEWAYS)


def caller(user_id: str, tenant: str) -> Principal:
    """A user of the free tier."""
    return Principal(
        user_id=user_id,
        tenant_id=tenant,
        tier=Tier.FREE,
        roles=frozenset(),
        entitled_until_ns=0,
    )


async def ask(limiters: list[RateLimiter], principal: Principal, calls: int) -> list[Admission]:
    """So many calls at once, spread over the gateways."""
    return await asyncio.gather(
        *(limiters[number % len(limiters)].admit(principal) for number in range(calls))
    )


@pytest.fixture(params=["memory", pytest.param("valkey", marks=pytest.mark.valkey)])
async def limiters(request: pytest.FixtureRequest) -> AsyncIterator[list[RateLimiter]]:
    """Four gateways; on Valkey each has connections of its own."""
    if request.param == "memory":
        store = MemoryFastStore(time.time_ns)
        yield [limiter_on(store) for _ in range(GATEWAYS)]
        return
    config = RedisConfig(url=request.getfixturevalue("redis_url"), timeout_ms=1000)
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(RedisFastStore(config)) for _ in range(GATEWAYS)]
        yield [limiter_on(store) for store in stores]


async def test_a_race_admits_exactly_the_rate(
    limiters: list[RateLimiter], unique: Callable[[str], str]
) -> None:
    """64 calls at once over four gateways, 50 an hour: 50, no more and no less."""
    admissions = await ask(limiters, caller("alice", unique("tenant")), 64)

    assert sum(admission.grant.allowed for admission in admissions) == 50
    assert not any(admission.local for admission in admissions)


async def test_users_of_a_tenant_race_for_its_rate(
    limiters: list[RateLimiter], unique: Callable[[str], str]
) -> None:
    """30 users ask 10 times each, 60 calls at a time: the tenant's 200 pass."""
    tenant = unique("tenant")
    admissions: list[Admission] = []
    for user in range(0, 30, 6):
        asked = (ask(limiters, caller(f"user-{user + beside}", tenant), 10) for beside in range(6))
        admissions += [admission for some in await asyncio.gather(*asked) for admission in some]

    assert sum(admission.grant.allowed for admission in admissions) == 200


async def test_a_refused_call_costs_nothing(
    limiters: list[RateLimiter], unique: Callable[[str], str]
) -> None:
    """100 calls of one user take 50 from the tenant, not 100."""
    tenant = unique("tenant")
    await ask(limiters, caller("alice", tenant), 100)

    bob = await limiters[0].admit(caller("bob", tenant))
    assert max(standing.remaining for standing in bob.grant.standings) == 200 - 50 - 1


@pytest.mark.valkey
async def test_gateways_without_their_server_stay_within_the_rate_together(tmp_path: Path) -> None:
    """The server is killed: each gateway grants its share, and none waits for an answer."""
    server = valkey(tmp_path)
    server.start()
    server.wait_ready()
    config = RedisConfig(url=f"redis://{server.address}/0", rest_ms=60_000)
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(RedisFastStore(config)) for _ in range(GATEWAYS)]
        limiters = [limiter_on(store) for store in stores]
        await ask(limiters, caller("warm", "tenant"), GATEWAYS)
        server.kill()
        admissions = await ask(limiters, caller("alice", "tenant"), 200)

    granted = sum(admission.grant.allowed for admission in admissions)
    assert granted == GATEWAYS * (50 // GATEWAYS) <= 50
    assert all(admission.local for admission in admissions)
