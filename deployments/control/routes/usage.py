"""What was used: by a tenant, for its bill, and by all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Response

from deployments.control.access import acting, holding
from deployments.control.acting import Acting
from deployments.control.services import Control
from deployments.control.usage.desk import csv_of, this_month
from models.access import Permission
from models.base import Frozen
from models.usage import UsageRow, UsageTotal

router = APIRouter(tags=["usage"])

Reader = Annotated[Acting, Depends(acting(Permission.USAGE_READ))]
Month = Annotated[
    str | None, Query(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$", description="As 2026-11; default: this one")
]


class Usage(Frozen):
    """Amounts of a month, in UTC. Of `storage_bytes` it is the most of a day, of all else the sum."""

    month: str
    by: str
    totals: Sequence[UsageTotal]


class UsageExport(Frozen):
    """The lines of a tenant's bill for a month."""

    tenant_id: str
    month: str
    rows: Sequence[UsageRow]


@router.get("/tenants/{tenant_id}/usage")
async def tenant_usage(
    on: Reader,
    control: Control,
    month: Month = None,
    by: Literal["user", "day", "feature", "measure"] = "measure",
) -> Usage:
    """What the tenant used in a month."""
    month = month or this_month(control.clock())
    return Usage(month=month, by=by, totals=await control.usage.totals(on.tenant_id, month, by))


@router.get(
    "/tenants/{tenant_id}/usage/export",
    response_model=UsageExport,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
async def export_usage(
    on: Reader,
    control: Control,
    month: Month = None,
    format: Literal["csv", "json"] = "json",  # noqa: A002 - the word of the query
) -> UsageExport | Response:
    """The month's usage line by line, for billing: by day, user, tier, feature and measure."""
    month = month or this_month(control.clock())
    rows = await control.usage.rows(on.tenant_id, month)
    if format == "json":
        return UsageExport(tenant_id=on.tenant_id, month=month, rows=rows)
    name = f"usage-{on.tenant_id}-{month}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(csv_of(rows), media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/platform/usage", dependencies=[Depends(holding(Permission.USAGE_PLATFORM))])
async def platform_usage(
    control: Control, month: Month = None, by: Literal["feature", "tier", "tenant", "day"] = "feature"
) -> Usage:
    """What all tenants used in a month, by feature or tier."""
    month = month or this_month(control.clock())
    return Usage(month=month, by=by, totals=await control.usage.platform_totals(month, by))
