"""A tenant with people and subscriptions, and control planes that may be killed beside it."""

from __future__ import annotations

import random
import time

from deployments.control.tenants.duties import AGAIN_NS
from deployments.control.tenants.tenant_duties import SUSPENSION
from deployments.front.halts import HaltDesk
from deployments.front.subscriptions import SubscriptionReader, SubscriptionWriter
from messaging.memory import MemoryBroadcast, MemoryBus, MemoryLog, MemoryMarket, Process
from models.access import Role
from models.halt import HaltScope
from models.people import User
from models.principal import Tier
from models.subscription import Entitlement, Subscription
from models.tenant import Duty, Kind, Tenant, TenantStatus
from storage.postgres import announcements, people, tenants
from storage.postgres.config import PostgresConfig
from storage.postgres.database import Database
from tests.support.duty_life import Clock, Life, Place
from tests.support.eventually import eventually
from tests.unit.signals.records import subscription

NOW_NS = 1_795_000_000_000_000_000
PEOPLE = ("ann", "bob")
SUBSCRIBED = ("bob", "carol")
"""Carol comes from an issuer of the tenant's own: no table knows her."""
EVERYBODY = ("ann", "bob", "carol")


class DutyHub(Place):
    """A tenant with people and subscriptions, somebody watching the logs, and the database."""

    def __init__(self, postgres: PostgresConfig, seed: int = 1) -> None:
        rng = random.Random(seed)
        self.now = Clock(NOW_NS)
        super().__init__(postgres, MemoryLog(rng, clock=time.time_ns), MemoryMarket(rng), self.now)
        self.database = Database(postgres)
        self.bus = MemoryBus(self.log, "watcher")
        self.desk = HaltDesk(self.bus, MemoryBroadcast(self.market, Process("watcher")))
        self.reader, self.writer = SubscriptionReader(self.bus), SubscriptionWriter(self.bus)

    async def provision(self, tenant_id: str = "acme") -> None:
        """The tenant, its people and what they have subscribed to."""
        async with self.database.tenant(tenant_id) as connection:
            await tenants.add(connection, a_tenant(tenant_id))
            for user in PEOPLE:
                await people.add(connection, a_user(tenant_id, f"{tenant_id}-{user}"))
        await self.writer.put_many([of(tenant_id, f"{tenant_id}-{user}") for user in SUBSCRIBED])

    async def tenant(self, tenant_id: str = "acme") -> Tenant:
        """As the database says."""
        async with self.database.tenant(tenant_id) as connection:
            found = await tenants.find(connection, tenant_id)
        assert found is not None
        return found

    async def halted(self, tenant_id: str = "acme") -> str | None:
        """By whom the tenant is halted."""
        halt = await self.desk.find(HaltScope.TENANT, tenant_id)
        return halt.by if halt else None

    async def owed(self) -> list[bytes]:
        """Everything that is marked, due or not."""
        async with self.database.platform() as connection:
            duties = await announcements.owed(connection, now_ns=1 << 62, most=1000)
            records = await announcements.marked(connection, most=1000)
        return [*(one.key for one in duties), *(one.key for one in records)]

    async def is_halted(self) -> bool:
        """Whether acme is, because it is suspended."""
        return await self.halted() == SUSPENSION

    async def entitled(self, *wanted: Entitlement) -> bool:
        """Whether these are the entitlements of acme's users, and no others."""
        return await self.entitlements() == list(wanted)

    async def gone(self) -> bool:
        """Whether nothing of acme is left in the log."""
        return not (await self.reader.of_tenant("acme") or await self.entitlements())

    async def entitlements(self) -> list[Entitlement]:
        """Those of acme's users."""
        return await self.reader.entitlements_of("acme")

    async def settle(self) -> None:
        """Have everything done, and done once more."""
        async with self.life("the last"):
            await eventually(self._nothing_due)
            self.now.move(AGAIN_NS / 1e9 + 1)
            await eventually(self.nothing_owed)

    async def _nothing_due(self) -> bool:
        async with self.database.platform() as connection:
            return not await announcements.owed(connection, now_ns=self.now(), most=1)

    async def nothing_owed(self) -> bool:
        """Whether all is done, once and once more."""
        return not await self.owed()


def a_tenant(tenant_id: str) -> Tenant:
    """Of tier pro, entitled for a day."""
    return Tenant(
        tenant_id=tenant_id,
        name="Acme",
        tier=Tier.PRO,
        status=TenantStatus.ACTIVE,
        entitled_until_ns=NOW_NS + 86_400 * 10**9,
        created_ns=NOW_NS,
        changed_ns=NOW_NS,
        version=1,
    )


def a_user(tenant_id: str, user_id: str) -> User:
    """A trader."""
    return User(
        tenant_id=tenant_id,
        user_id=user_id,
        login=user_id,
        name=user_id,
        email=None,
        roles=(Role.TRADER,),
        enabled=True,
        profile={},
        created_ns=NOW_NS,
        changed_ns=NOW_NS,
        version=1,
    )


def of(tenant_id: str, user_id: str) -> Subscription:
    """A subscription from a token of the day before."""
    values = {"tenant_id": tenant_id, "entitled_until_ns": NOW_NS + 10**9}
    return subscription(user_id).model_copy(update=values)


def entitlements(tenant: Tenant) -> list[Entitlement]:
    """What must stand in the log."""
    return [
        Entitlement(
            tenant_id=tenant.tenant_id,
            user_id=f"{tenant.tenant_id}-{user}",
            tier=tenant.tier,
            entitled_until_ns=tenant.entitled_until_ns,
            version=tenant.version + (user in PEOPLE),  # those in the table count their own changes, too
        )
        for user in EVERYBODY
    ]


async def stand(life: Life, status: TenantStatus, tenant_id: str = "acme") -> None:
    """Suspend, resume or delete, as the desk does."""
    duty = Duty.FAREWELL if status is TenantStatus.DELETED else Duty.HALT
    async with life.changes.of(tenant_id, actor="root") as change:
        await tenants.change(change.connection, tenant_id, now_ns=change.now_ns, status=status)
        await change.announce(Kind.TENANT, tenant_id)
        await change.owe(duty, tenant_id)


async def upgrade(life: Life, tier: Tier, tenant_id: str = "acme", *, days: int = 30) -> None:
    """Another tier and end, as the desk does."""
    until_ns = NOW_NS + days * 86_400 * 10**9
    async with life.changes.of(tenant_id, actor="root") as change:
        await tenants.change(
            change.connection, tenant_id, now_ns=change.now_ns, tier=tier, entitled_until_ns=until_ns
        )
        await change.announce(Kind.TENANT, tenant_id)
        await change.owe(Duty.ENTITLEMENT, tenant_id)
