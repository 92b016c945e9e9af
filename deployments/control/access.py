"""Who may act on what: a permission of the role, in the caller's own tenant or, for the platform, in any.

Another tenant's objects and absent ones get the same answer, so that nobody learns who else is here.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, NamedTuple

from fastapi import Path

from deployments.control.services import Control
from deployments.front.access import Caller
from models.access import Permission, permissions_of, platform_permissions_of
from models.errors import Forbidden, NotFound
from models.principal import Principal

InPath = Annotated[str, Path(min_length=1, max_length=64, description="The tenant")]


class Acting(NamedTuple):
    """A caller who may do what the route is for, in this tenant."""

    caller: Principal
    tenant_id: str


def acting(permission: Permission) -> Callable[..., Coroutine[Any, Any, Acting]]:
    """A dependency: the caller with this permission in the tenant of the path. Refusals are written down."""

    async def dependency(tenant_id: InPath, caller: Caller, control: Control) -> Acting:
        if permission in platform_permissions_of(caller.roles):
            return Acting(caller, tenant_id)
        if tenant_id != caller.tenant_id:
            await control.refusals.write(caller, permission, tenant_id)
            raise absent()
        if permission not in permissions_of(caller.roles):
            await control.refusals.write(caller, permission, tenant_id)
            raise lacking(permission)
        return Acting(caller, tenant_id)

    dependency.__dict__["permission"] = permission
    return dependency


def holding(permission: Permission) -> Callable[..., Coroutine[Any, Any, Principal]]:
    """A dependency: the caller with this permission, where no tenant is named in the path."""

    async def dependency(caller: Caller, control: Control) -> Principal:
        if permission not in permissions_of(caller.roles):
            await control.refusals.write(caller, permission, caller.tenant_id)
            raise lacking(permission)
        return caller

    dependency.__dict__["permission"] = permission
    return dependency


def absent() -> NotFound:
    """The one answer to what is not there and to what is somebody else's."""
    return NotFound("there is nothing of that name for you")


def lacking(permission: Permission) -> Forbidden:
    """The answer to a caller whose role is too weak."""
    return Forbidden(f"this needs the permission `{permission}`, which none of your roles has")
