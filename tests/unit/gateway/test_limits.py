"""Rates by tier over HTTP: the headers, the refusal, and what holds while the shared counters are away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from deployments.front.limits import RateLimiter, load_tiers
from models.errors import ConfigError, StoreUnavailable
from models.principal import Tier
from storage.memory import MemoryFastStore
from storage.ports import Bucket, Grant
from tests.unit.gateway.doubles import TIERS, TestHub, make_hub, principal

ROOT = Path(__file__).resolve().parents[3]
FREE = "100;w=60"


class AwayStore(MemoryFastStore):
    """A store that can be away."""

    away = True

    async def take(self, buckets: Sequence[Bucket]) -> Grant:
        if self.away:
            raise StoreUnavailable("away")
        return await super().take(buckets)


async def test_the_answer_says_where_the_caller_stands(hub: TestHub) -> None:
    """`RateLimit-*` of the tightest rate, and every rate of the tier in the policy."""
    answer = await hub.client.get("/api/v1/models", headers=hub.auth(tier=Tier.FREE))

    assert answer.headers["ratelimit-limit"] == "100"
    assert answer.headers["ratelimit-remaining"] == "99"
    assert answer.headers["ratelimit-reset"] == "1"
    assert answer.headers["ratelimit-policy"] == f"1000;w=3600, {FREE}"


async def test_one_more_than_the_rate_is_refused_with_when_to_retry(hub: TestHub) -> None:
    """64 + 64 calls at once of a user with 100 a minute: 100 pass, 28 get 429; another user is untouched."""
    mine = hub.auth(tier=Tier.FREE)
    answers = await asyncio.gather(*(hub.client.get("/api/v1/models", headers=mine) for _ in range(128)))

    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) == 28
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}
    assert {answer.json()["code"] for answer in refused} == {"rate_limited"}
    other = await hub.client.get("/api/v1/models", headers=hub.auth("bob", tier=Tier.FREE))
    assert other.status_code == 200


async def test_a_tenants_users_share_its_rate_and_no_other_tenant_does() -> None:
    """Six users of a tenant with 50 an hour ask ten times each."""
    small = TIERS.replace("1000/hour, user: 100/minute", "50/hour, user: 10/minute")
    hub = await make_hub(time.time_ns(), tiers=load_tiers(small))
    refused = 0
    for user in range(6):
        mine = hub.auth(f"user-{user}", tier=Tier.FREE)
        answers = [await hub.client.get("/nowhere", headers=mine) for _ in range(10)]
        refused += sum(answer.status_code == 429 for answer in answers)

    assert refused == 10
    assert (await hub.client.get("/nowhere", headers=hub.auth(tenant="b", tier=Tier.FREE))).status_code == 404


async def test_open_probes_are_not_counted(hub: TestHub) -> None:
    """A balancer has no token and no tier."""
    assert "ratelimit-limit" not in (await hub.client.get("/health/live")).headers


async def test_while_the_counters_are_away_each_gateway_grants_its_share() -> None:
    """Two gateways, 100 a minute: 50 pass here, the answer says so; back again, the shared counters rule."""
    store = AwayStore(time.time_ns)
    hub = await make_hub(time.time_ns(), store=store)
    mine = hub.auth(tier=Tier.FREE)
    answers = [await hub.client.get("/nowhere", headers=mine) for _ in range(60)]

    assert [answer.status_code for answer in answers] == [404] * 50 + [429] * 10
    assert "local bound" in answers[0].headers["ratelimit-policy"]
    assert hub.services.limiter.counts_locally
    store.away = False
    back = await hub.client.get("/nowhere", headers=mine)
    assert (back.status_code, back.headers["ratelimit-remaining"]) == (404, "99")
    assert not hub.services.limiter.counts_locally


async def test_a_store_that_comes_and_goes_starts_no_rate_anew() -> None:
    """A caller who asks without pause gets its 100 a minute once, also from a store that comes back empty."""
    store, now_ns = AwayStore(lambda: now_ns), time.time_ns()
    hub = await make_hub(now_ns, store=store)
    mine = hub.auth(tier=Tier.FREE)
    granted = 0
    for number in range(400):
        store.away = number % 20 < 10
        if not number % 100:
            await store.close()
        granted += (await hub.client.get("/nowhere", headers=mine)).status_code == 404

    assert granted == 100


async def test_every_tier_of_the_shipped_table_is_limited() -> None:
    """`config/tiers.yaml` holds the promised rates and sockets."""
    tiers = load_tiers((ROOT / "config" / "tiers.yaml").read_text())
    limiter = RateLimiter(
        tiers,
        shared=MemoryFastStore(time.time_ns),
        local=MemoryFastStore(time.time_ns),
        gateways=1,
    )

    hourly = {}
    for tier in Tier:
        admission = await limiter.admit(principal(tier=tier))
        hourly[tier] = next(
            standing.rate.amount for standing in admission.grant.standings if standing.rate.period_s == 3600
        )
    assert hourly == {
        Tier.FREE: 1000,
        Tier.PRO: 10_000,
        Tier.ENTERPRISE: 100_000,
        Tier.SERVICE: 1_000_000,
    }
    assert [tiers.tiers[tier].sockets for tier in Tier] == [5, 50, 500, 500]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("free:", "gratis:"), "gratis"),
        (("  free: {tenant: 1000/hour, user: 100/minute, sockets: 5}\n", ""), "free"),
        (("100/minute", "lots"), "lots"),
        (("sockets: 5}", "sockets: -5}"), "sockets"),
        (("sockets: 5}", "seats: 5}"), "seats"),
    ],
)
def test_a_wrong_table_is_refused_by_name(change: tuple[str, str], complaint: str) -> None:
    """Unknown or missing tier, unreadable rate, bad number, unknown field: all at load."""
    with pytest.raises(ConfigError, match=complaint):
        load_tiers(TIERS.replace(*change))
