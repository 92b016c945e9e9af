"""Leases on a real database: what is granted, for how long, and to whom it belongs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select, text

from models.errors import BadValue, Conflict, NotFound, QuotaExceeded
from models.resources import Resource
from storage.postgres.database import Database
from storage.postgres.tables.resources import LEASES, RESOURCE_USE
from tests.support.eventually import eventually
from tests.support.leases import CALLS, LIMITS, MODELS, TENANT, Desk, add_tenants, desk

S = 1_000_000_000


class Clock:
    """Wall time that stands still until it is moved."""

    now_ns = 1_000 * S

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    """The time by which leases expire here."""
    return Clock()


@pytest.fixture
async def own(database: Database, clock: Clock) -> AsyncIterator[Desk]:
    """A manager, and tenants `acme` and `bolt`."""
    await add_tenants(database, TENANT, "bolt")
    async with desk(database, clock=clock) as opened:
        yield opened


async def test_a_hundred_at_once_for_the_last_one(own: Desk) -> None:
    """100 callers of one process, one short of the limit: exactly one is granted, 99 are told why."""
    await own.manager.allocate_resource(TENANT, {CALLS: 9}, holder="early")

    assert await own.granted(100, amounts={CALLS: 1}) == 1
    assert own.witnessed.refusals.count((TENANT, "user-99", CALLS)) == 1
    assert len(own.witnessed.refusals) == 99
    assert (await own.manager.standings(TENANT))[0].in_use == 10


async def test_several_are_granted_together_or_not_at_all(own: Desk) -> None:
    """One resource is short: nothing of the other is taken, and the short one is named."""
    with pytest.raises(QuotaExceeded) as refused:
        await own.manager.allocate_resource(TENANT, {MODELS: 5, CALLS: 11}, holder="alice")

    assert refused.value.field == "requirements.concurrent_inferences"
    assert refused.value.details == {
        "resource": CALLS,
        "limit": 10,
        "in_use": 0,
        "asked": 11,
        "unit": "calls in flight",
    }
    assert refused.value.retry_after_s is None
    assert all(standing.in_use == 0 for standing in await own.manager.standings(TENANT))


async def test_a_refusal_says_when_enough_will_have_expired(own: Desk) -> None:
    """Three leases of 3 out of 10 end after 10, 20 and 30 s: more waits longer, and 11 for ever."""
    for ttl_s in (30, 10, 20):
        await own.manager.allocate_resource(TENANT, {CALLS: 3}, holder="alice", ttl_s=ttl_s)
    waits = []
    for asked in (2, 4, 5, 8, 11):
        with pytest.raises(QuotaExceeded) as refused:
            await own.manager.allocate_resource(TENANT, {CALLS: asked}, holder="bob")
        waits.append(refused.value.retry_after_s)

    assert waits == [10, 10, 20, 30, None]


async def test_a_lease_ends_to_the_nanosecond_and_is_renewed_before(own: Desk, clock: Clock) -> None:
    """Held for the last nanosecond, gone after it; a renewed one lasts from the renewal on."""
    lease = await own.manager.allocate_resource(TENANT, {CALLS: 10}, holder="alice", ttl_s=10)
    clock.now_ns += 10 * S - 1
    assert await own.granted(1, amounts={CALLS: 1}) == 0
    renewed = await own.manager.renew_lease(lease, ttl_s=5)
    assert renewed.expires_ns == clock.now_ns + 5 * S
    clock.now_ns += 5 * S

    assert (await own.manager.standings(TENANT))[0].in_use == 0
    with pytest.raises(NotFound):
        await own.manager.renew_lease(lease, ttl_s=5)
    assert await own.granted(1, amounts={CALLS: 10}) == 1


async def test_a_lease_may_be_renewed_to_end_sooner(own: Desk, clock: Clock) -> None:
    """From an hour to a second: it is free after the second, although the hour was known before."""
    lease = await own.manager.allocate_resource(TENANT, {CALLS: 10}, holder="alice", ttl_s=3600)
    await own.manager.renew_lease(lease, ttl_s=1)
    clock.now_ns += S

    assert await own.granted(1, amounts={CALLS: 10}) == 1


async def test_a_repeat_under_the_callers_id_is_the_same_lease(own: Desk, clock: Clock) -> None:
    """Ten repeats at once and one later: one lease. Other amounts or another holder: refused."""

    async def ask(amount: int = 6, holder: str = "alice") -> str:
        lease = await own.manager.allocate_resource(
            TENANT, {CALLS: amount}, holder=holder, lease_id="job-1", ttl_s=10
        )
        return f"{lease.lease_id} {lease.expires_ns}"

    first = {await asked for asked in asyncio.as_completed([ask() for _ in range(10)])}
    clock.now_ns += S
    assert first == {await ask()}
    for wrong in (ask(amount=5), ask(holder="bob")):
        with pytest.raises(Conflict) as refused:
            await wrong
        assert refused.value.field == "lease_id"
    assert (await own.manager.standings(TENANT))[0].in_use == 6


async def test_released_twice_is_given_back_once(own: Desk) -> None:
    """Concurrently and again later: one of them gave it back, and the sum is right."""
    lease = await own.manager.allocate_resource(TENANT, {CALLS: 6}, holder="alice")
    await own.manager.allocate_resource(TENANT, {CALLS: 2}, holder="bob")
    released = await asyncio.gather(*(own.manager.release_resource(lease) for _ in range(5)))

    assert sorted(released) == [False] * 4 + [True]
    assert (await own.manager.standings(TENANT))[0].in_use == 2


async def test_a_caller_that_gives_up_waiting_holds_nothing(own: Desk, database: Database) -> None:
    """Cancelled at every stage of the way, with no id to come back with: in the end all is free."""
    for turns in range(40):
        task = asyncio.create_task(
            own.manager.allocate_resource(TENANT, {CALLS: 1}, holder="impatient", ttl_s=86_400)
        )
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled():
            await own.manager.release_resource(task.result())

    async def free() -> bool:
        return (await own.manager.standings(TENANT))[0].in_use == 0

    assert await eventually(free)


async def test_a_lowered_limit_takes_nothing_away_and_grants_nothing(own: Desk) -> None:
    """Held 8, limit lowered to 3: renewed, nothing new until enough is given back; 0 ends renewal."""
    lease = await own.manager.allocate_resource(TENANT, {CALLS: 8}, holder="alice")
    own.limits[CALLS] = 3
    await own.manager.renew_lease(lease)
    assert await own.granted(1, amounts={CALLS: 1}) == 0
    assert (await own.manager.standings(TENANT))[0].left == 0
    own.limits[CALLS] = 0
    with pytest.raises(QuotaExceeded):
        await own.manager.renew_lease(lease)
    own.limits[CALLS] = 3
    await own.manager.release_resource(lease)
    assert await own.granted(5, amounts={CALLS: 1}) == 3


async def test_a_tenant_neither_uses_up_nor_touches_anothers(own: Desk) -> None:
    """The same ids in two tenants: each has its own limit, and neither renews nor releases the other's."""
    mine = await own.manager.allocate_resource(TENANT, {CALLS: 10}, holder="alice", lease_id="job")
    theirs = mine.model_copy(update={"tenant_id": "bolt"})

    assert await own.manager.release_resource(theirs) is False
    with pytest.raises(NotFound):
        await own.manager.renew_lease(theirs)
    assert await own.granted(20, tenant="bolt", amounts={CALLS: 1}) == 10
    assert (await own.manager.standings(TENANT))[0].in_use == 10
    assert await own.manager.release_resource(mine)


async def test_the_rows_of_a_tenant_are_its_own(own: Desk, database: Database) -> None:
    """Row-level security on both tables: the other tenant's transaction sees nothing."""
    await own.manager.allocate_resource(TENANT, {CALLS: 1}, holder="alice")
    async with database.tenant("bolt") as connection:
        for table in (LEASES, RESOURCE_USE):
            assert (await connection.execute(select(table))).all() == []


async def test_what_has_expired_is_deleted_by_whoever_decides_next(
    own: Desk, clock: Clock, database: Database
) -> None:
    """No sweep: 50 expired leases are gone with the next request, and the sum with them."""
    assert await own.granted(50, amounts={MODELS: 1}) == 50
    clock.now_ns += 61 * S
    assert await own.granted(1, amounts={MODELS: 100}) == 1
    async with database.tenant(TENANT) as connection:
        assert len((await connection.execute(select(LEASES))).all()) == 1
        held = (await connection.execute(select(RESOURCE_USE.c.in_use))).scalar_one()
    assert held == {MODELS: 100}


async def test_check_says_what_is_short_and_sets_nothing_aside(own: Desk) -> None:
    """Available, asked for as often as one likes; then not, with each shortage named."""
    for _ in range(3):
        assert (await own.manager.check_resource_availability(TENANT, {CALLS: 10, MODELS: 100})).available
    await own.manager.allocate_resource(TENANT, {CALLS: 4}, holder="alice")
    found = await own.manager.check_resource_availability(TENANT, {CALLS: 7, MODELS: 101})

    assert not found.available
    assert [(one.resource, one.limit, one.in_use, one.asked) for one in found.shortages] == [
        (CALLS, 10, 4, 7),
        (MODELS, 100, 0, 101),
    ]


async def test_wrong_requirements_never_reach_the_database(own: Desk) -> None:
    """Unknown, zero, negative, not whole: refused by name, by all calls."""
    for wrong in ({"gpus": 1}, {CALLS: 0}, {CALLS: -1}, {CALLS: 1.5}, {}):
        with pytest.raises(BadValue):
            await own.manager.allocate_resource(TENANT, wrong, holder="alice")  # type: ignore[arg-type]
        with pytest.raises(BadValue):
            await own.manager.check_resource_availability(TENANT, wrong)  # type: ignore[arg-type]


async def test_one_batch_that_fails_fails_its_callers_alone(own: Desk, database: Database) -> None:
    """The limits are broken for a moment: those who waited hear of it, those who come later are served."""
    limits = dict(own.limits)
    own.limits.clear()
    own.limits["models"] = "no number"  # type: ignore[index,assignment]
    answers = await asyncio.gather(
        *(own.manager.allocate_resource(TENANT, {MODELS: 1}, holder="alice") for _ in range(5)),
        return_exceptions=True,
    )
    own.limits.clear()
    own.limits.update(limits)

    assert all(isinstance(answer, Exception) for answer in answers)
    assert await own.granted(5, amounts={MODELS: 1}) == 5


async def test_the_clock_of_the_database_decides_where_none_is_passed_in(database: Database) -> None:
    """A lease made by it is of its now."""
    await add_tenants(database, TENANT)
    async with desk(database, limits=LIMITS) as own:
        lease = await own.manager.allocate_resource(TENANT, {Resource.STORAGE_MB: 5}, holder="a", ttl_s=7)
        async with database.tenant(TENANT) as connection:
            asked = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint")
            now_ns = (await connection.execute(asked)).scalar_one()
    assert lease.expires_ns - lease.created_ns == 7 * S
    assert 0 <= now_ns - lease.created_ns < 60 * S
