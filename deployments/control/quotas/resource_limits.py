"""What a tenant may hold now, for the desk that grants leases."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from deployments.control.acting import absent
from deployments.front.limits import LimitsView
from deployments.front.tenants_fold import KnownTenant, TenantsFold
from models.resources import Limits, Resource
from models.tenant import Tenant, TenantStatus


class ResourceLimits:
    """Asks the local copy of `hub.tenants`; `find` knows tenants that are too new to be there."""

    def __init__(
        self, limits: LimitsView, fold: TenantsFold, find: Callable[[str], Awaitable[Tenant]]
    ) -> None:
        self._limits = limits
        self._fold = fold
        self._find = find

    async def __call__(self, tenant_id: str) -> Limits:
        """Nothing for a tenant that is suspended; NotFound for one that is not there."""
        tenant: Tenant | KnownTenant = self._fold.tenant(tenant_id) or await self._find(tenant_id)
        if tenant.status is TenantStatus.DELETED:
            raise absent()
        if tenant.status is not TenantStatus.ACTIVE:
            return dict.fromkeys(Resource, 0)
        return self._limits.of(tenant_id, tenant.tier).resources
