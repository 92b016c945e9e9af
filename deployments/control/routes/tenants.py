"""Tenants."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from deployments.control.access import Acting, absent, acting
from deployments.control.services import Control
from models.access import Permission
from models.tenant import Tenant

router = APIRouter(prefix="/tenants", tags=["tenants"])


@router.get("/{tenant_id}")
async def tenant(
    acting_on: Annotated[Acting, Depends(acting(Permission.TENANT_READ))], control: Control
) -> Tenant:
    """The tenant itself."""
    found = await control.tenants.find(acting_on.tenant_id)
    if found is None:
        raise absent()
    return found
