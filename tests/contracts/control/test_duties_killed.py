"""Control planes that are killed at random moments of suspending, upgrading and deleting a tenant."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from deployments.control.tenants.tenant_duties import SUSPENSION
from messaging.topics import CONTROL, SUBSCRIPTIONS, TENANTS, create_topics
from models.principal import Tier
from models.tenant import Tenant, TenantStatus
from storage.postgres.config import PostgresConfig
from tests.support.duty_hub import DutyHub, entitlements, stand, upgrade
from tests.support.duty_life import Life
from tests.support.eventually import eventually

LATE_S = 0.5


@pytest.mark.parametrize("seed", range(6))
async def test_what_was_owed_is_done_though_control_planes_are_killed(
    postgres_config: PostgresConfig, seed: int
) -> None:
    """At random moments of suspending, upgrading and deleting, on a log that loses and delays: in the end the
    logs say exactly what the database says.
    """
    hub, rng = DutyHub(postgres_config, seed), random.Random(seed)
    await create_topics(hub.bus, 1)
    await hub.provision()
    hub.log.faults.lose_ack = hub.log.faults.late = hub.log.faults.refuse = 0.15
    hub.log.faults.late_s = LATE_S
    for number in range(8):
        async with hub.life(f"{seed}-{number}") as life:
            last = number == 7 and seed % 2
            life.begin(stand(life, TenantStatus.DELETED) if last else _any_change(life, rng))
            await asyncio.sleep(rng.uniform(0, 0.08))
        hub.now.move(rng.choice((0.1, 1.0, 11.0)))
    hub.log.faults.lose_ack = hub.log.faults.late = hub.log.faults.refuse = 0.0
    await eventually(_Quiet(hub))
    await hub.settle()

    tenant = await hub.tenant()
    if tenant.status is TenantStatus.DELETED:
        assert await hub.gone()
    elif tenant.tier is not Tier.PRO:
        assert await _entitled_as(hub, tenant)
    assert await hub.halted() == (SUSPENSION if tenant.status is TenantStatus.SUSPENDED else None)
    await hub.database.close()


class _Quiet:
    """Whether nothing has landed in the logs for longer than anything is late. What dead processes wait for
    tells nothing: they wait for ever.
    """

    def __init__(self, hub: DutyHub) -> None:
        self._hub = hub
        self._ends: list[int] = []
        self._since_s = time.monotonic()

    def __call__(self) -> bool:
        ends = [
            self._hub.log.partition(topic.name, partition).end
            for topic in (SUBSCRIPTIONS, CONTROL, TENANTS)
            for partition in range(topic.partitions)
        ]
        if ends != self._ends:
            self._ends, self._since_s = ends, time.monotonic()
        return time.monotonic() - self._since_s > 2 * LATE_S


async def _entitled_as(hub: DutyHub, tenant: Tenant) -> bool:
    """Whatever changed since without touching tier and end only counts the version up."""
    found = {(one.user_id, one.tier, one.entitled_until_ns) for one in await hub.entitlements()}
    return found == {(one.user_id, one.tier, one.entitled_until_ns) for one in entitlements(tenant)}


async def _any_change(life: Life, rng: random.Random) -> None:
    if rng.random() < 0.5:
        await stand(life, rng.choice((TenantStatus.SUSPENDED, TenantStatus.ACTIVE)))
    else:
        await upgrade(life, rng.choice((Tier.FREE, Tier.ENTERPRISE)), days=rng.randint(1, 90))
