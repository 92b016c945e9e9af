"""Tenants: made in one call, changed, suspended and ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from deployments.control.acting import Acting, absent
from deployments.control.auth.passwords import Passwords
from deployments.control.changes import Change, Changes
from deployments.control.people.desk import add_user
from deployments.control.people.invitations import NewInvitation, invite
from deployments.control.tenant_config.desk import config_fields
from models.access import Role
from models.errors import Forbidden
from models.people import NewUser, new_user_id
from models.tenant import (
    PLATFORM_TENANT,
    Duty,
    Kind,
    NewTenant,
    Provisioned,
    Tenant,
    TenantChange,
    TenantRecord,
    TenantStatus,
)
from models.tenant_config import Layer, LayerKey
from storage.postgres import tenants
from storage.postgres.database import Database

ENTITLED_NS: Final = 366 * 86_400 * 10**9
"""How long a new tenant is entitled, unless its maker says otherwise."""

BeginConfig = Callable[[Change, str], Awaitable[None]]
"""Gives a new tenant what a template of that name sets."""


class TenantDesk:
    """What the routes of tenants call; `rng` makes the ids."""

    def __init__(
        self, database: Database, changes: Changes, *, begin: BeginConfig, passwords: Passwords, rng: Random
    ) -> None:
        self._database = database
        self._changes = changes
        self._begin = begin
        self._passwords = passwords
        self._rng = rng

    async def provision(self, new: NewTenant, *, by: str) -> Provisioned:
        """A tenant that is ready: itself and its owner, or the owner's invitation, in one transaction.

        Conflict if the name was ever given: what is left of a deleted tenant must not become another's.
        """
        password = new.owner.password
        hashed = await self._passwords.hashed(password) if password else None
        async with self._changes.of(new.tenant_id, actor=by, new=True) as change:
            tenant = await _added(change, new)
            if new.template:
                await self._begin(change, new.template)
            owner = new.owner.model_copy(update={"roles": (Role.TENANT_OWNER,)})
            if hashed is None:
                sent = await self._invite(change, owner)
                return Provisioned(tenant=tenant, invitation=sent)
            user = await add_user(change, owner, user_id=new_user_id(self._rng), password_hash=hashed)
        return Provisioned(tenant=tenant, owner=user)

    async def find(self, tenant_id: str) -> Tenant:
        """The tenant; NotFound if there is none, or it is deleted."""
        async with self._database.reading(tenant_id) as connection:
            found = await tenants.find(connection, tenant_id)
        if found is None or found.status is TenantStatus.DELETED:
            raise absent()
        return found

    async def page(self, *, after: str, most: int) -> Sequence[Tenant]:
        """Tenants by name, those that are deleted too."""
        async with self._database.platform_reading() as connection:
            return await tenants.page(connection, after=after, most=most)

    async def change(self, acting: Acting, asked: TenantChange) -> Tenant:
        """Change name, tier or end of entitlement: it holds everywhere within a second."""
        async with self._changes.of(acting.tenant_id, actor=acting.caller.user_id) as change:
            values = asked.model_dump(exclude_unset=True)
            tenant = await _updated(change, "tenants.change", **values)
            if values.keys() & {"tier", "entitled_until_ns"}:
                await change.owe(Duty.ENTITLEMENT, acting.tenant_id)
        return tenant

    async def suspend(self, acting: Acting, *, reason: str) -> Tenant:
        """Nobody of the tenant comes in any more, and its users are asked to do nothing."""
        return await self._stand(acting, TenantStatus.SUSPENDED, "tenants.suspend", reason=reason)

    async def resume(self, acting: Acting) -> Tenant:
        """The tenant goes on as before."""
        return await self._stand(acting, TenantStatus.ACTIVE, "tenants.resume")

    async def _stand(self, acting: Acting, status: TenantStatus, action: str, **told: Any) -> Tenant:
        _check_is_not_the_platform(acting.tenant_id)
        async with self._changes.of(acting.tenant_id, actor=acting.caller.user_id) as change:
            tenant = await tenants.change(
                change.connection, acting.tenant_id, now_ns=change.now_ns, status=status
            )
            await change.note(action, acting.tenant_id, **told)
            await change.announce(Kind.TENANT, acting.tenant_id)
            await change.owe(Duty.HALT, acting.tenant_id)
        return tenant

    async def _invite(self, change: Change, owner: NewUser) -> str:
        new = NewInvitation(login=owner.login, roles=owner.roles)
        sent = await invite(change, new, invitation_id=f"i-{self._rng.getrandbits(96):024x}")
        return sent.token


async def _added(change: Change, new: NewTenant) -> Tenant:
    tenant = Tenant(
        tenant_id=new.tenant_id,
        name=new.name,
        tier=new.tier,
        status=TenantStatus.ACTIVE,
        entitled_until_ns=new.entitled_until_ns or change.now_ns + ENTITLED_NS,
        created_ns=change.now_ns,
        changed_ns=change.now_ns,
        version=1,
    )
    await tenants.add(change.connection, tenant)
    await change.note("tenants.create", tenant.tenant_id, tier=tenant.tier, name=tenant.name)
    await change.announce(Kind.TENANT, tenant.tenant_id)
    return tenant


async def _updated(change: Change, action: str, **values: Any) -> Tenant:
    tenant = await tenants.change(change.connection, change.tenant_id, now_ns=change.now_ns, **values)
    await change.note(action, change.tenant_id, **values)
    await change.announce(Kind.TENANT, change.tenant_id)
    return tenant


def _check_is_not_the_platform(tenant_id: str) -> None:
    if tenant_id == PLATFORM_TENANT:
        raise Forbidden("the platform's own tenant is neither suspended nor deleted: nobody could undo it")


async def render(connection: AsyncConnection, ids: Sequence[str]) -> TenantRecord | None:
    """What the log says of a tenant: the whole of what the database says now."""
    tenant = await tenants.find(connection, ids[0])
    if tenant is None:
        return None
    return TenantRecord(
        tenant_id=tenant.tenant_id,
        tier=tenant.tier,
        status=tenant.status,
        entitled_until_ns=tenant.entitled_until_ns,
        version=tenant.version,
        **await config_fields(connection, ids[0], LayerKey(Layer.TENANT)),
    )
