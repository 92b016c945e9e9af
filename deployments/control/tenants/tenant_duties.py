"""How each duty is done: what the logs must say of a tenant, given what the database says of it now.

Each compares first and writes what differs, so that doing it again does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from deployments.front.halts import HaltDesk
from deployments.front.subscriptions import SubscriptionReader, SubscriptionWriter
from messaging.ports import Broadcast, EventBus
from models.halt import Halt, HaltScope
from models.people import issued_here
from models.subscription import Entitlement
from models.tenant import Duty, Tenant, TenantStatus
from storage.postgres import people, tenants
from storage.postgres.announcements import Owed
from storage.postgres.people import Standing

_REMOVED: Final = 2**53
"""More changes than any user lives to see."""
SUSPENSION: Final = "tenant-suspension"
"""Who halts a suspended tenant, as its halt says. One that an operator has set is left as it is."""


class TenantDuties:
    """`clock` is wall time in nanoseconds."""

    def __init__(self, bus: EventBus, broadcast: Broadcast, *, clock: Callable[[], int]) -> None:
        self._halts = HaltDesk(bus, broadcast)
        self._reader = SubscriptionReader(bus)
        self._writer = SubscriptionWriter(bus)
        self._clock = clock

    async def do(self, connection: AsyncConnection, one: Owed) -> None:
        """Do a duty in the tenant's transaction. A MessagingError, also in a group: do it again."""
        tenant = await tenants.find(connection, one.tenant_id)
        if tenant is None:
            return
        if one.duty is Duty.HALT:
            await self._halt(tenant)
        elif one.duty is Duty.ENTITLEMENT:
            await self._entitle(tenant, await people.standings(connection))
        elif one.duty is Duty.FAREWELL:
            await self._bid_farewell(tenant, last=one.again)

    async def not_halted(self, suspended: Sequence[str]) -> Sequence[str]:
        """Those of the tenants for whom no halt stands; a MessagingError if the halts cannot be read."""
        if not suspended:
            return ()
        standing = {halt.id for halt in await self._halts.in_force() if halt.scope is HaltScope.TENANT}
        return [tenant_id for tenant_id in suspended if tenant_id not in standing]

    async def close(self) -> None:
        await self._halts.close()
        await self._writer.close()

    async def _halt(self, tenant: Tenant) -> None:
        """A halt stands while the tenant is suspended. That of a deleted one ends with its farewell."""
        if tenant.status is TenantStatus.SUSPENDED:
            await self._suspend(tenant.tenant_id)
        elif tenant.status is TenantStatus.ACTIVE:
            await self._lift(tenant.tenant_id)

    async def _suspend(self, tenant_id: str) -> None:
        halt = Halt(
            scope=HaltScope.TENANT,
            id=tenant_id,
            reason="the tenant is suspended",
            by=SUSPENSION,
            at_ns=self._clock(),
        )
        if halt.key() not in {known.key() for known in self._halts.known}:
            await self._halts.tell(halt)  # before the log is read, which may be away
        if await self._halts.find(HaltScope.TENANT, tenant_id) is None:
            await self._halts.put(halt)

    async def _lift(self, tenant_id: str) -> None:
        standing = await self._halts.find(HaltScope.TENANT, tenant_id)
        if standing and standing.by == SUSPENSION:
            await self._halts.lift(standing, by=SUSPENSION)

    async def _entitle(self, tenant: Tenant, users: Mapping[str, Standing]) -> None:
        """What the tenant is entitled to, for every user whom it knows or who has subscribed; nothing for one
        who was disabled or removed.
        """
        if tenant.status is TenantStatus.DELETED:
            return
        subscribed = {one.user_id for one in await self._reader.of_tenant(tenant.tenant_id)}
        written = set(await self._reader.entitlements_of(tenant.tenant_id))
        wanted = [_entitlement(tenant, user_id, users) for user_id in sorted(subscribed.union(users))]
        await self._writer.put_many(one for one in wanted if one not in written)

    async def _bid_farewell(self, tenant: Tenant, *, last: bool) -> None:
        """Nothing of a deleted tenant stays in `user.subscriptions`, and in the end no halt either."""
        if tenant.status is not TenantStatus.DELETED:
            return
        await self._writer.delete_many(
            [
                *await self._reader.of_tenant(tenant.tenant_id),
                *await self._reader.entitlements_of(tenant.tenant_id),
            ]
        )
        if last:
            await self._lift(tenant.tenant_id)


def _entitlement(tenant: Tenant, user_id: str, users: Mapping[str, Standing]) -> Entitlement:
    """Its version grows with every change of the tenant and of the user."""
    standing = users.get(user_id) or _stranger(user_id)
    return Entitlement(
        tenant_id=tenant.tenant_id,
        user_id=user_id,
        tier=tenant.tier,
        entitled_until_ns=tenant.entitled_until_ns if standing.enabled else 0,
        version=tenant.version + standing.version,
    )


def _stranger(user_id: str) -> Standing:
    """A user who is not in the table: one that another issuer speaks for, or one who was removed."""
    return (
        Standing(enabled=False, version=_REMOVED)
        if issued_here(user_id)
        else Standing(enabled=True, version=0)
    )
