"""The first people of a hub: the platform's own tenant and its admin, made once, when there is nobody yet."""

from __future__ import annotations

from random import Random

from deployments.control.auth.passwords import Passwords
from deployments.control.changes import Changes
from deployments.control.config import FirstAdmin
from deployments.control.people.desk import add_user
from models.access import Role
from models.errors import Conflict
from models.people import NewUser, new_user_id
from models.principal import Tier
from models.tenant import PLATFORM_TENANT, Kind, Tenant, TenantStatus
from storage.postgres import people, tenants
from storage.postgres.database import Database

_FOR_EVER_NS = 9_000_000_000 * 10**9


class Founding:
    """Makes them when there are none; without a `first` admin only the platform's tenant."""

    def __init__(
        self,
        database: Database,
        changes: Changes,
        first: FirstAdmin | None,
        *,
        passwords: Passwords,
        rng: Random,
    ) -> None:
        self._database = database
        self._changes = changes
        self._first = first
        self._passwords = passwords
        self._rng = rng

    async def run(self) -> None:
        """Make what is missing; of two that start at once one does."""
        try:
            await self._tenant()
            if self._first:
                await self._admin(self._first)
        except Conflict:
            return  # somebody else was first

    async def _tenant(self) -> None:
        async with self._database.tenant(PLATFORM_TENANT) as connection:
            if await tenants.find(connection, PLATFORM_TENANT):
                return
        async with self._changes.of(PLATFORM_TENANT, actor="hub", new=True) as change:
            await tenants.add(change.connection, _platform(change.now_ns))
            await change.note("tenants.create", PLATFORM_TENANT)
            await change.announce(Kind.TENANT, PLATFORM_TENANT)

    async def _admin(self, first: FirstAdmin) -> None:
        async with self._database.tenant(PLATFORM_TENANT) as connection:
            if await people.page(connection, after="", most=1):
                return
        hashed = await self._passwords.hashed(first.password.resolve())
        new = NewUser(login=first.login, name="First admin", roles=(Role.ADMIN,))
        async with self._changes.of(PLATFORM_TENANT, actor="hub") as change:
            await add_user(change, new, user_id=new_user_id(self._rng), password_hash=hashed)


def _platform(now_ns: int) -> Tenant:
    return Tenant(
        tenant_id=PLATFORM_TENANT,
        name="The platform",
        tier=Tier.SERVICE,
        status=TenantStatus.ACTIVE,
        entitled_until_ns=_FOR_EVER_NS,
        created_ns=now_ns,
        changed_ns=now_ns,
        version=1,
    )
