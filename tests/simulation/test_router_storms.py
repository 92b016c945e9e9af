"""What a failing backend and a reckless tenant may cost: the shipped routed client on virtual time."""

from __future__ import annotations

import asyncio

import pytest

from deployments.front.limits import RateLimiter, load_tiers
from models.errors import InferenceFailed, ReplicaLost
from models.principal import Principal, Tier
from storage.memory import MemoryFastStore
from tests.simulation.router_storm import Storm, now_ns, now_s
from tests.support.arrivals import next_arrival
from tests.support.cards import a_card
from tests.support.virtual_loop import run_virtual

BEGINS_S, ENDS_S, OVER_S = 10.0, 40.0, 60.0
SPELL_S = 40.0
QUOTA_PER_S = 5
TIERS = """
tiers:
  free: {tenant: 5/second, user: 5/second, sockets: 1}
  pro: {tenant: 5/second, user: 5/second, sockets: 1}
  enterprise: {tenant: 5/second, user: 5/second, sockets: 1}
  service: {tenant: 5/second, user: 5/second, sockets: 1}
"""


def test_retries_do_not_feed_a_backend_that_fails() -> None:
    """All calls fail for half a minute: at most a fifth more calls than requests, none of them in waves, and
    ten seconds after the end everything is as before.
    """

    async def story() -> Storm:
        storm = Storm([a_card("quick", warm_ms=20.0), a_card("steady", warm_ms=25.0)])
        storm.backend.fault = lambda _: InferenceFailed("down") if BEGINS_S <= now_s() < ENDS_S else None
        await storm.offer("all", per_s=300.0, seconds=OVER_S)
        return storm

    storm = run_virtual(story())
    requests = sum(BEGINS_S <= one.begun_s < ENDS_S for one in storm.seen["all"])
    attempts = storm.attempts_per_100_ms(BEGINS_S, ENDS_S)
    before = storm.answered("all", 0.0, BEGINS_S)

    assert storm.answered("all", BEGINS_S, ENDS_S) == 0.0
    assert attempts.total() / requests <= 1.2
    assert max(attempts.values()) <= 3 * attempts.total() / 300
    assert storm.answered("all", ENDS_S + 10.0, OVER_S) >= 0.95 * before > 0.9


@pytest.mark.parametrize("named", [None, "poison"])
def test_a_reckless_tenant_harms_itself(named: str | None) -> None:
    """A hundred times its quota, where the first model to answer, or the one it names, kills its replica: it
    gets its quota, the model is shut out, and nobody else sees an error or waits a fifth longer.
    """

    async def story(*, reckless: bool) -> tuple[Storm, int]:
        storm = Storm([a_card("quick", warm_ms=20.0), a_card("poison", warm_ms=10.0)])
        storm.backend.fault = lambda call: ReplicaLost("crashed") if call.model == "poison@1" else None
        others = [storm.offer(f"tenant-{n}", per_s=50.0, seconds=SPELL_S, model="quick") for n in range(3)]
        admitted = asyncio.create_task(_flood(storm, named, seconds=SPELL_S)) if reckless else None
        await asyncio.gather(*others)
        return storm, await admitted if admitted else 0

    calm, _ = run_virtual(story(reckless=False))
    storm, admitted = run_virtual(story(reckless=True))

    assert abs(admitted / (SPELL_S * QUOTA_PER_S) - 1) <= 0.05
    assert 1 <= storm.backend.crashes <= 4
    for number in range(3):
        tenant = f"tenant-{number}"
        assert {one.outcome for one in storm.seen[tenant]} == {"ok"}
        assert _p99_s(storm, tenant) <= 1.2 * _p99_s(calm, tenant)


async def _flood(storm: Storm, named: str | None, *, seconds: float) -> int:
    """A tenant that calls a hundred times as often as it may; how many calls got past its limit."""
    store = MemoryFastStore(now_ns)
    limiter = RateLimiter(load_tiers(TIERS), shared=store, local=MemoryFastStore(now_ns), gateways=1)
    reckless = Principal(
        user_id="mallory",
        tenant_id="reckless",
        tier=Tier.FREE,
        roles=frozenset({"tenant:trader"}),
        entitled_until_ns=2 * now_ns(),
    )
    calls, end_s = [], now_s() + seconds
    while now_s() < end_s:
        if (await limiter.admit(reckless)).grant.allowed:
            calls.append(asyncio.create_task(storm.ask("reckless", named)))
        await next_arrival(100 * QUOTA_PER_S)
    await asyncio.gather(*calls)
    return len(calls)


def _p99_s(storm: Storm, tenant: str) -> float:
    times = sorted(one.took_s for one in storm.seen[tenant])
    return times[int(len(times) * 0.99)]
