"""What holds for a tenant, from this gateway's own copy: no database and no control plane is asked."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Path, Query, Request, Response

from deployments.front.permits import needs
from deployments.front.witnessed import hide
from deployments.gateway.services import Hub
from models.access import Permission
from models.base import Frozen
from models.errors import NotFound
from models.principal import Principal, Tier
from models.tenant_config import Layer

router = APIRouter(tags=["config"])

Reader = Annotated[Principal, Depends(needs(Permission.CONFIG_READ))]
TenantInPath = Annotated[str, Path(min_length=1, max_length=64, description="The tenant")]


async def readable(tenant_id: TenantInPath, caller: Reader, request: Request) -> str:
    """The tenant of the path, if the caller may know of it."""
    if tenant_id != caller.tenant_id and Permission.CONFIG_READ not in caller.platform_permissions:
        hide(request)
        raise _absent()
    return tenant_id


Readable = Annotated[str, Depends(readable)]
Whose = Annotated[Literal["me"] | None, Query(description="`me`: with the caller's own layer on top")]


class OriginPage(Frozen):
    """Where a value is from; `overrules` is a layer below that asks for more than it may have."""

    layer: Layer
    version: int
    overrules: Layer | None = None


class ConfigPage(Frozen):
    """Every setting with what holds, nested, and where it is from, by dotted name.

    `version` is that of the tenant's own layer, `versions` those of all. A secret says only whether it is
    set. `features` is what of them is on: for the user, or for all users of the tenant.
    """

    status: Literal["success"]
    tenant_id: str
    user_id: str | None
    tier: Tier
    environment: str
    version: int
    versions: dict[Layer, int]
    config: dict[str, dict[str, Any]]
    origins: dict[str, OriginPage]
    features: dict[str, bool]


@router.get("/config/{tenant_id}", response_model=ConfigPage)
async def tenant_config(tenant_id: Readable, hub: Hub, caller: Reader, user: Whose = None) -> Response:
    """What holds for the tenant, and with `user=me` for the caller. A change is here within a second."""
    if hub.tenants is None:
        raise _absent()
    own = tenant_id == caller.tenant_id
    found = hub.tenants.of(tenant_id, caller.user_id if user and own else None)
    if found is None:
        raise _absent()
    return Response(orjson.dumps(found.told()), media_type="application/json")


def _absent() -> NotFound:
    """One answer to what is not there and to what is somebody else's."""
    return NotFound("there is nothing of that name for you")
