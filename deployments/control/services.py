"""Everything the control plane works with, handed in from outside: real in `opening.py`, as in tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from deployments.control.audit.desk import AuditDesk
from deployments.control.audit.refusals import Refusals
from deployments.control.auth.assembly import AuthDesks
from deployments.control.changes import Changes
from deployments.control.people.desk import PeopleDesk
from deployments.control.people.invitations import InvitationDesk
from deployments.control.quotas.resources import TenantResourceManager
from deployments.control.tenant_config.desk import ConfigDesk
from deployments.control.tenants.desk import TenantDesk
from deployments.control.tenants.farewell import Farewell
from deployments.control.usage.desk import UsageDesk
from deployments.control.user_data.desk import UserDataDesk
from deployments.control.user_data.mover import UserDataMover
from deployments.front.denials import DenialLog
from deployments.front.limits import RateLimiter
from deployments.front.metering import UsageMeter
from deployments.front.tokens import Tokens
from models.metrics import Meter
from storage.postgres.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlServices:
    """What the routes and the pipeline use. `clock` is wall time in ns, `monotonic` in seconds."""

    database: Database
    changes: Changes
    refusals: Refusals
    denials: DenialLog
    tenants: TenantDesk
    farewell: Farewell
    people: PeopleDesk
    invitations: InvitationDesk
    resources: TenantResourceManager
    configs: ConfigDesk
    tokens: Tokens
    auth: AuthDesks
    audit: AuditDesk
    usage: UsageDesk
    metering: UsageMeter
    user_data: UserDataDesk
    mover: UserDataMover
    limiter: RateLimiter
    meter: Meter
    clock: Callable[[], int]
    monotonic: Callable[[], float]
    rng: Random = field(repr=False)
    public_docs: bool = False
    max_body_bytes: int = 1 << 20
    body_timeout_s: float = 10.0


async def services_of(request: Request) -> ControlServices:
    """The services the running app was made with."""
    services: ControlServices = request.app.state.services
    return services


Control = Annotated[ControlServices, Depends(services_of)]
