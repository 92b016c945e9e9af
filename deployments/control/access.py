"""Who may act on what: a permission of the role, in the caller's own tenant or, for the platform, in any.

Another tenant's objects and absent ones get the same answer, so that nobody learns who else is here.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Path, Request

from deployments.control.acting import Acting, absent, lacking
from deployments.control.services import services_of
from deployments.front import witnessed
from deployments.front.access import Caller, caller_of
from models.access import Permission
from models.principal import Principal

InPath = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="The tenant")]


def acting(permission: Permission, *others: Permission) -> Callable[..., Coroutine[Any, Any, Acting]]:
    """A dependency: the caller with this permission, or one of the others, in the tenant of the path.

    Refusals are written down.
    """
    enough = frozenset({permission, *others})

    async def dependency(tenant_id: InPath, request: Request) -> Acting:
        caller = await caller_of(request)
        if enough & caller.platform_permissions:
            return Acting(caller, tenant_id)
        if tenant_id != caller.tenant_id:
            await _write_refusal(request, permission, tenant_id)
            raise absent()
        if not any(caller.may(one) for one in enough):
            await _write_refusal(request, permission, tenant_id)
            raise lacking(permission)
        return Acting(caller, tenant_id)

    dependency.__dict__["permission"] = permission
    dependency.__dict__["others"] = others
    return dependency


def holding(permission: Permission) -> Callable[..., Coroutine[Any, Any, Principal]]:
    """A dependency: the caller with this permission, where no tenant is named in the path."""

    async def dependency(caller: Caller, request: Request) -> Principal:
        if not caller.may(permission):
            await _write_refusal(request, permission, caller.tenant_id)
            raise lacking(permission)
        return caller

    dependency.__dict__["permission"] = permission
    return dependency


async def _write_refusal(request: Request, permission: Permission, what: str) -> None:
    """Into the audit log of the caller's tenant, now, and not once more by who watches the answers."""
    control = await services_of(request)
    await control.refusals.write(await caller_of(request), permission, what)
    witnessed.written(request)
