"""Limits that change while callers are counted: a tier or a config, on a virtual clock."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.front.limits import RateLimiter, TierLimits, load_tiers
from models.principal import Principal, Tier
from storage.memory import MemoryFastStore
from tests.unit.gateway.doubles import principal

S = 1_000_000_000
TIERS = load_tiers("""
tiers:
  free: {tenant: 100000/hour, user: 60/minute, sockets: 1}
  pro: {tenant: 100000/hour, user: 120/minute, sockets: 1}
  enterprise: {tenant: 100000/hour, user: 6000/minute, sockets: 1}
  service: {tenant: 100000/hour, user: 6000/minute, sockets: 1}
""")
AMOUNTS = {Tier.FREE: 60, Tier.PRO: 120}


class View:
    """The tiers, unless a tenant has a user rate of its own."""

    def __init__(self) -> None:
        self.own: dict[str, str] = {}

    def of(self, tenant_id: str, tier: Tier, /) -> TierLimits:
        line = TIERS.of(tenant_id, tier)
        rate = self.own.get(tenant_id)
        return line.model_copy(update={"user": rate}) if rate else line


class Scene:
    """One gateway's limiter. Time stands still until it is moved; the store's is off by `step_ns`."""

    def __init__(self) -> None:
        self.now_ns, self.step_ns, self.view = 1_000_000 * S, 0, View()
        self.limiter = RateLimiter(
            self.view,
            shared=MemoryFastStore(lambda: self.now_ns + self.step_ns),
            local=MemoryFastStore(lambda: self.now_ns),
            gateways=1,
        )

    async def admitted(self, calls: int, caller: Principal) -> int:
        """How many of so many calls in a row pass."""
        verdicts = [(await self.limiter.admit(caller)).grant.allowed for _ in range(calls)]
        return sum(verdicts)


FREE, PRO = principal(tier=Tier.FREE), principal(tier=Tier.PRO)


async def test_an_upgrade_holds_from_the_next_call_and_hands_out_no_second_burst() -> None:
    """60 a minute are used up; upgraded to 120 the caller goes on at two a second, not with 120 more."""
    scene = Scene()
    assert await scene.admitted(100, FREE) == 60
    assert await scene.admitted(100, PRO) == 0
    scene.now_ns += S
    assert await scene.admitted(100, PRO) == 2


async def test_a_downgrade_holds_from_the_next_call_and_forgets_nothing() -> None:
    """Half of 120 are used; downgraded to 60 half of those are left."""
    scene = Scene()
    assert await scene.admitted(60, PRO) == 60
    assert await scene.admitted(100, FREE) == 30


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([Tier.FREE, Tier.PRO]), st.integers(1, 150), st.integers(0, 90 * S)),
        max_size=8,
    )
)
async def test_who_flips_tiers_gains_nothing(turns: list[tuple[Tier, int, int]]) -> None:
    """A call costs a share of the minute, by its tier: all together at most one, and what has passed."""
    scene, shares, passed_ns = Scene(), 0.0, 0
    for tier, calls, then_ns in turns:
        caller = FREE if tier is Tier.FREE else PRO
        shares += await scene.admitted(calls, caller) / AMOUNTS[tier]
        assert shares <= 1 + passed_ns / (60 * S) + 1e-9
        scene.now_ns += then_ns
        passed_ns += then_ns


async def test_a_tenants_own_rate_holds_for_it_alone_and_until_it_is_changed() -> None:
    """Lowered to 10 a minute for one tenant, then raised again; the other has its tier's all the time."""
    scene = Scene()
    other = principal(tenant="other", tier=Tier.FREE)
    scene.view.own[FREE.tenant_id] = "10/minute"
    assert await scene.admitted(100, FREE) == 10
    assert await scene.admitted(100, other) == 60
    del scene.view.own[FREE.tenant_id]
    scene.now_ns += 30 * S
    assert await scene.admitted(100, FREE) == 30


async def test_around_the_edge_of_a_window_no_more_than_the_burst_passes() -> None:
    """60 in the last moment of a minute; in the first of the next none, and then one a second."""
    scene = Scene()
    scene.now_ns = 1_000_000 * 60 * S - 1_000_000
    assert await scene.admitted(100, FREE) == 60
    scene.now_ns += 2_000_000
    assert await scene.admitted(100, FREE) == 0
    scene.now_ns += S
    assert await scene.admitted(100, FREE) == 1


async def test_a_store_whose_clock_steps_back_locks_nobody_out() -> None:
    """By an hour: a call passes after its second, not after an hour."""
    scene = Scene()
    assert await scene.admitted(100, FREE) == 60
    scene.step_ns -= 3600 * S
    assert await scene.admitted(100, FREE) == 0
    scene.now_ns += S
    assert await scene.admitted(100, FREE) == 1


async def test_a_store_whose_clock_steps_on_hands_out_nothing() -> None:
    """By an hour, which empties its counters: the gateway has counted, too."""
    scene = Scene()
    assert await scene.admitted(100, FREE) == 60
    scene.step_ns += 3600 * S
    assert await scene.admitted(100, FREE) == 0
    scene.now_ns += S
    assert await scene.admitted(100, FREE) == 1
