"""Everything the control plane works with, handed in from outside: real in `opening.py`, as in tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from deployments.control.audit import AuditDesk
from deployments.control.auth import AuthDesks
from deployments.control.changes import Changes
from deployments.control.configs import ConfigDesk
from deployments.control.farewell import Farewell
from deployments.control.invitations import InvitationDesk
from deployments.control.people import PeopleDesk
from deployments.control.refusals import Refusals
from deployments.control.resources import TenantResourceManager
from deployments.control.tenants import TenantDesk
from deployments.control.usage import UsageDesk
from deployments.control.user_data import UserDataDesk
from deployments.control.user_data_mover import UserDataMover
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
