"""Scorecard S7: several gateways, one counter. On the memory store and on Valkey, with one killed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import redis

from deployments.front.limits import Admission, RateLimiter, Tiers, load_tiers
from models.principal import Principal, Tier
from serve_app.servers.bundled import valkey
from storage.memory import MemoryFastStore
from storage.ports import FastStore
from storage.redis_store import RedisConfig, RedisFastStore

GATEWAYS = 4
TIER = "{tenant: 200/hour, user: 50/hour, sockets: 1}"
TIERS: Tiers = load_tiers(f"tiers: {{free: {TIER}, pro: {TIER}, enterprise: {TIER}, service: {TIER}}}")


def limiter_on(store: FastStore, tiers: Tiers = TIERS) -> RateLimiter:
    """One gateway's limiter."""
    return RateLimiter(tiers, shared=store, local=MemoryFastStore(time.time_ns), gateways=GATEWAYS)


def caller(user_id: str, tenant: str) -> Principal:
    """A user of the free tier."""
    return Principal(
        user_id=user_id,
        tenant_id=tenant,
        tier=Tier.FREE,
        roles=frozenset({"tenant:trader"}),
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


@pytest.mark.valkey
async def test_what_is_admitted_is_the_burst_and_the_rate_times_the_time(
    redis_url: str, unique: Callable[[str], str]
) -> None:
    """64 clients ask four gateways without pause: 1,200, and one for each 50 ms by the server's clock."""
    line = "{tenant: 100000/hour, user: 1200/minute, sockets: 1}"
    tiers = load_tiers(f"tiers: {{free: {line}, pro: {line}, enterprise: {line}, service: {line}}}")
    config = RedisConfig(url=redis_url, timeout_ms=1000, connections=16)
    alice, admitted = caller("alice", unique("tenant")), 0
    async with AsyncExitStack() as stack:
        clock = stack.enter_context(redis.Redis.from_url(redis_url))

        def now_us() -> int:
            seconds, microseconds = clock.time()
            return int(seconds) * 1_000_000 + int(microseconds)

        stores = [await stack.enter_async_context(RedisFastStore(config)) for _ in range(GATEWAYS)]
        limiters = [limiter_on(store, tiers) for store in stores]
        began = now_us()
        admitted += (await limiters[0].admit(alice)).grant.allowed
        last = begun = now_us()
        while admitted < 1_220:
            last = now_us()
            admissions = await ask(limiters, alice, 64)
            assert not any(admission.local for admission in admissions)
            admitted += sum(admission.grant.allowed for admission in admissions)
        ended = now_us()

    assert 1_200 + (last - begun) // 50_000 <= admitted <= 1_200 + (ended - began) // 50_000


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
