"""What a tenant may hold, what it holds, and the leases by which it does."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Response
from pydantic import Field
from starlette.requests import Request

from deployments.control.access import acting
from deployments.control.acting import Acting
from deployments.control.quotas.requirements import HEADER, from_headers, parsed
from deployments.control.quotas.resources import TTL_S
from deployments.control.services import Control
from models.access import Permission
from models.base import Frozen
from models.errors import BadValue
from models.resources import (
    Availability,
    Lease,
    LeaseId,
    LeaseRef,
    Requirements,
    Resource,
    Standing,
    TtlSeconds,
)

router = APIRouter(prefix="/tenants/{tenant_id}", tags=["resources"])

Holder = Annotated[Acting, Depends(acting(Permission.RESOURCES))]
Reader = Annotated[Acting, Depends(acting(Permission.USAGE_READ, Permission.RESOURCES))]
InPath = Annotated[LeaseId, Path(description="The lease's id, unique within the tenant")]


class Wanted(Frozen):
    """What is needed, unless the header says it."""

    requirements: Requirements | None = Field(None, examples=[{"concurrent_inferences": 2}])


class NewLease(Wanted):
    """A request under the same `lease_id` gets the same lease, for as long as there is one."""

    ttl_s: TtlSeconds = TTL_S
    lease_id: LeaseId | None = None


class Renewed(Frozen):
    """How long it shall last from now."""

    ttl_s: TtlSeconds = TTL_S


class Standings(Frozen):
    """How the tenant stands with every resource."""

    tenant_id: str
    resources: tuple[Standing, ...]


async def read_once(request: Request) -> None:
    """Refuses a body that names something twice."""
    if body := await request.body():
        parsed(body, field="body")


async def in_header(
    request: Request,
    _: Annotated[
        str | None,
        Header(alias=HEADER, description="`requirements` of the body as a JSON object, in place of those"),
    ] = None,
) -> dict[Resource, int] | None:
    """The requirements of the header."""
    return from_headers(request.headers.getlist(HEADER))


InHeader = Annotated[dict[Resource, int] | None, Depends(in_header)]


@router.get("/resources")
async def resources(on: Reader, control: Control) -> Standings:
    """What the tenant may hold of each resource, and what it holds; leases that have expired do not count."""
    return Standings(tenant_id=on.tenant_id, resources=await control.resources.standings(on.tenant_id))


@router.post("/resources/check", dependencies=[Depends(read_once)])
async def check_resources(
    on: Holder, control: Control, header: InHeader, wanted: Wanted | None = None
) -> Availability:
    """Whether this could be had now. It sets nothing aside."""
    asked = _either(header, wanted)
    return await control.resources.check_resource_availability(on.tenant_id, asked)


@router.post("/leases", status_code=201, dependencies=[Depends(read_once)])
async def allocate(on: Holder, control: Control, header: InHeader, new: NewLease | None = None) -> Lease:
    """All of it or nothing. 429 names what there is too little of and, where waiting helps, for how long."""
    new = new or NewLease()
    return await control.resources.allocate_resource(
        on.tenant_id,
        _either(header, new),
        holder=on.caller.user_id,
        ttl_s=new.ttl_s,
        lease_id=new.lease_id,
    )


@router.put("/leases/{lease_id}")
async def renew(lease_id: InPath, on: Holder, control: Control, renewed: Renewed | None = None) -> Lease:
    """Let a lease last longer. 404 says that it has expired, and that what it held may be somebody else's."""
    lease = LeaseRef(on.tenant_id, lease_id)
    return await control.resources.renew_lease(lease, ttl_s=(renewed or Renewed()).ttl_s)


@router.delete("/leases/{lease_id}", status_code=204)
async def release(lease_id: InPath, on: Holder, control: Control) -> Response:
    """Give a lease back. 204 also if there is none: a repeat does no harm."""
    await control.resources.release_resource(LeaseRef(on.tenant_id, lease_id))
    return Response(status_code=204)


def _either(header: dict[Resource, int] | None, wanted: Wanted | None) -> dict[Resource, int]:
    """What is needed, from the one place that says it."""
    body = wanted.requirements if wanted else None
    if header and body:
        raise BadValue(
            f"requirements are in the body and in {HEADER}; send one of them", field="requirements"
        )
    if not (header or body):
        raise BadValue(
            f"requirements are missing; send them in the body or in {HEADER}", field="requirements"
        )
    return header or body or {}
