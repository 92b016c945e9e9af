"""What is owed outside the database is done in the end, whatever dies on the way: on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from deployments.control.tenants.tenant_duties import SUSPENSION
from deployments.front.halts import HaltDesk
from deployments.front.subscriptions import SubscriptionReader
from messaging.memory import MemoryBroadcast, MemoryMarket, Process
from messaging.subjects import HALT_SUBJECT
from messaging.topics import create_topics
from models.halt import Halt, HaltScope
from models.principal import Tier
from models.tenant import Duty, TenantStatus
from storage.postgres import announcements
from storage.postgres.config import PostgresConfig
from tests.support.control import ControlHub, new_tenant
from tests.support.duty_hub import NOW_NS, SUBSCRIBED, DutyHub, entitlements, of, stand, upgrade
from tests.support.eventually import eventually


@pytest.fixture
async def hub(postgres_config: PostgresConfig) -> AsyncIterator[DutyHub]:
    """With one tenant, acme."""
    made = DutyHub(postgres_config)
    await create_topics(made.bus, 1)
    await made.provision()
    yield made
    await made.database.close()


async def test_when_a_suspension_answers_the_halt_stands(hub: DutyHub) -> None:
    """And when the resumption answers it is lifted."""
    async with hub.life("one") as life:
        await stand(life, TenantStatus.SUSPENDED)
        assert await hub.halted() == SUSPENSION

        await stand(life, TenantStatus.ACTIVE)
        assert await hub.halted() is None


async def test_a_halt_that_an_operator_set_is_left_alone(hub: DutyHub) -> None:
    """It is neither replaced nor lifted; once the operator lifts it of a suspended tenant, ours follows."""
    theirs = Halt(scope=HaltScope.TENANT, id="acme", reason="a drill", by="ops", at_ns=NOW_NS)
    await hub.desk.put(theirs)
    async with hub.life("one") as life:
        await stand(life, TenantStatus.SUSPENDED)
        assert await hub.halted() == "ops"
        await stand(life, TenantStatus.ACTIVE)
        assert await hub.halted() == "ops"

        await stand(life, TenantStatus.SUSPENDED)
        await hub.desk.lift(theirs, by="ops")
        await eventually(hub.is_halted)


async def test_while_the_log_is_away_a_suspension_is_told_over_nats(hub: DutyHub) -> None:
    """The call answers after three seconds, and the halt is in the log once that is back."""
    heard = MemoryBroadcast(hub.market, Process("fan-out")).hear(HALT_SUBJECT)
    first = asyncio.ensure_future(anext(heard))
    async with hub.life("one") as life:
        hub.log.cut("one")
        suspending = life.begin(stand(life, TenantStatus.SUSPENDED))
        told = Halt.from_record(await first)
        assert (told.scope, told.id, told.by) == (HaltScope.TENANT, "acme", SUSPENSION)
        await suspending
        assert await hub.halted() is None

        hub.log.mend("one")
        await eventually(hub.is_halted, 20)


async def test_an_upgrade_reaches_all_users_whom_table_or_log_knows(hub: DutyHub) -> None:
    """Those of another tenant it does not; their subscriptions then say the new tier and end."""
    await hub.provision("bolt")
    async with hub.life("one") as life:
        await upgrade(life, Tier.ENTERPRISE)
        wanted = entitlements(await hub.tenant())
        await eventually(lambda: hub.entitled(*wanted))

    assert await hub.reader.entitlements_of("bolt") == []
    seen = {one.user_id: (one.tier, one.entitled_until_ns) for one in await hub.reader.of_tenant("acme")}
    assert seen == {f"acme-{user}": (Tier.ENTERPRISE, wanted[0].entitled_until_ns) for user in SUBSCRIBED}
    assert {one.tier for one in await hub.reader.of_tenant("bolt")} == {Tier.PRO}


async def test_who_subscribed_around_the_change_is_seen_ten_seconds_later(hub: DutyHub) -> None:
    """With a gateway whose copy of the tenant was older; what had been written is not written again."""
    async with hub.life("one") as life:
        await upgrade(life, Tier.ENTERPRISE)
        wanted = entitlements(await hub.tenant())
        await eventually(lambda: hub.entitled(*wanted))
        await hub.writer.put(of("acme", "acme-dora"))
        hub.now.move(9)
        assert len(await hub.owed()) == 1
        assert await hub.reader.entitlements_of("acme") == wanted

        hub.now.move(2)
        also = wanted[-1].model_copy(update={"user_id": "acme-dora"})
        await eventually(lambda: hub.entitled(*wanted, also))
        await eventually(hub.nothing_owed)


async def test_the_last_word_of_a_dead_control_plane_is_put_right(hub: DutyHub) -> None:
    """An append that lands late leaves an older version last; compaction would keep that one."""
    async with hub.life("one") as life:
        await upgrade(life, Tier.ENTERPRISE)
        wanted = entitlements(await hub.tenant())
        await eventually(lambda: hub.entitled(*wanted))
        await hub.writer.put_many([wanted[1].model_copy(update={"version": 1, "tier": Tier.FREE})])
        assert not await hub.entitled(*wanted)

        hub.now.move(11)
        await eventually(lambda: hub.entitled(*wanted))


async def test_nothing_of_a_deleted_tenant_stays(hub: DutyHub) -> None:
    """Subscriptions, entitlements and the halt of its suspension go; the neighbour keeps what it has."""
    await hub.provision("bolt")
    async with hub.life("one") as life:
        await upgrade(life, Tier.FREE)
        await stand(life, TenantStatus.SUSPENDED)
        await stand(life, TenantStatus.DELETED)
        await eventually(hub.gone)
        assert await hub.halted() == SUSPENSION  # no signal slips through while its gateways learn of it
    await hub.settle()

    assert await hub.halted() is None
    assert len(await hub.reader.of_tenant("bolt")) == len(SUBSCRIBED)


async def test_a_change_owed_anew_while_it_is_done_is_done_again(hub: DutyHub) -> None:
    """The mark that a duty finds is not the one that a later change left."""
    async with hub.database.tenant("acme") as connection:
        first = await announcements.owe(connection, "acme", Duty.HALT, now_ns=NOW_NS)
    async with hub.database.tenant("acme") as doing:
        now = await announcements.turn(doing, first)
        assert now is not None
        async with hub.database.tenant("acme") as connection:
            await announcements.owe(connection, "acme", Duty.HALT, now_ns=NOW_NS)
        await announcements.settle(doing, now)

    assert await hub.owed() == [first.key]


async def test_two_control_planes_take_turns_at_a_duty(hub: DutyHub) -> None:
    """The second waits for the first, and then finds nothing left to do."""
    async with hub.database.tenant("acme") as connection:
        one = await announcements.owe(connection, "acme", Duty.HALT, now_ns=NOW_NS)

    async def second() -> announcements.Owed | None:
        async with hub.database.tenant("acme") as connection:
            return await announcements.turn(connection, one)

    async with hub.database.tenant("acme") as first:
        now = await announcements.turn(first, one)
        assert now is not None
        waiting = asyncio.create_task(second())
        done, _ = await asyncio.wait({waiting}, timeout=0.2)
        assert not done
        await announcements.settle(first, now)

    assert await waiting is None


async def test_the_routes_owe_what_is_due(control: ControlHub) -> None:
    """By HTTP: halted when the suspension answers, entitled soon after the upgrade."""
    desk = HaltDesk(control.bus, MemoryBroadcast(MemoryMarket(random.Random(1)), Process("watcher")))
    made = await control.client.post("/tenants", json=new_tenant(), headers=control.auth())
    owner = made.json()["owner"]["user_id"]

    body, url = {"reason": "unpaid"}, "/tenants/acme/suspension"
    assert (await control.client.put(url, json=body, headers=control.auth())).status_code == 200
    halt = await desk.find(HaltScope.TENANT, "acme")
    assert (await control.client.delete(url, headers=control.auth())).status_code == 200
    assert halt is not None
    assert await desk.find(HaltScope.TENANT, "acme") is None

    await control.client.patch("/tenants/acme", json={"tier": "enterprise"}, headers=control.auth())
    reader = SubscriptionReader(control.bus)
    (one,) = await eventually(lambda: reader.entitlements_of("acme"))
    assert (one.user_id, one.tier) == (owner, Tier.ENTERPRISE)
