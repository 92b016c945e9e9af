"""Tenants: made in one call, read, changed, suspended, resumed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import Field

from deployments.control.access import acting, holding
from deployments.control.acting import Acting
from deployments.control.pages import After, Most, following
from deployments.control.services import Control
from models.access import Permission
from models.base import Frozen
from models.errors import Forbidden
from models.principal import Principal
from models.tenant import NewTenant, Provisioned, Tenant, TenantChange

router = APIRouter(prefix="/tenants", tags=["tenants"])

Platform = Annotated[Principal, Depends(holding(Permission.TENANTS_ALL))]
Provisioner = Annotated[Principal, Depends(holding(Permission.TENANTS_CREATE))]
Reader = Annotated[Acting, Depends(acting(Permission.TENANT_READ))]
Writer = Annotated[Acting, Depends(acting(Permission.TENANT_WRITE))]
Deleter = Annotated[Acting, Depends(acting(Permission.TENANT_DELETE))]
Suspender = Annotated[Acting, Depends(acting(Permission.TENANT_SUSPEND))]


class TenantPage(Frozen):
    """Tenants by name; `next` is where the next page begins."""

    tenants: Sequence[Tenant]
    next: str | None = None


class Suspension(Frozen):
    """Why; the tenant's users read it in their signals."""

    reason: Annotated[str, Field(min_length=1, max_length=400)]


@router.get("")
async def tenants(control: Control, _: Platform, after: After = "", most: Most = 100) -> TenantPage:
    """All tenants, by name, with those that are deleted."""
    page = await control.tenants.page(after=after, most=most)
    return TenantPage(tenants=page, next=following([one.tenant_id for one in page], most))


@router.post("", status_code=201)
async def provision(new: NewTenant, control: Control, caller: Provisioner) -> Provisioned:
    """Make a tenant that is ready to use: itself, its owner, its config and its quotas, in one step."""
    return await control.tenants.provision(new, by=caller.user_id)


@router.get("/{tenant_id}")
async def tenant(on: Reader, control: Control) -> Tenant:
    """The tenant itself."""
    return await control.tenants.find(on.tenant_id)


@router.patch("/{tenant_id}")
async def change_tenant(asked: TenantChange, on: Writer, control: Control) -> Tenant:
    """Change the name; the platform also changes tier and entitlement, which hold everywhere in a second."""
    if asked.model_fields_set - {"name"} and not on.may(Permission.TENANT_TIER):
        raise Forbidden("only the platform changes the tier and the end of the entitlement", field="tier")
    return await control.tenants.change(on, asked)


@router.put("/{tenant_id}/suspension")
async def suspend(why: Suspension, on: Suspender, control: Control) -> Tenant:
    """Suspend: nobody of the tenant gets in, nobody is asked for anything, within a second."""
    return await control.tenants.suspend(on, reason=why.reason)


@router.delete("/{tenant_id}/suspension")
async def resume(on: Suspender, control: Control) -> Tenant:
    """Resume a tenant that is suspended."""
    return await control.tenants.resume(on)


@router.get("/{tenant_id}/export", response_class=StreamingResponse)
async def export_tenant(on: Deleter, control: Control) -> StreamingResponse:
    """Everything the hub keeps of the tenant, one JSON object a line; no passwords and no secret values."""
    await control.farewell.check(on.tenant_id)
    return StreamingResponse(control.farewell.export(on.tenant_id), media_type="application/x-ndjson")


@router.delete("/{tenant_id}")
async def delete_tenant(
    on: Deleter, control: Control, confirm: Annotated[str, Query(description="The tenant's name once more")]
) -> Tenant:
    """End the tenant: people, config, keys and data are erased; name and audit stay. Export it first."""
    return await control.farewell.delete(on, confirm=confirm)
