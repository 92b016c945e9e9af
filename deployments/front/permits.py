"""What a caller may do, as routes of the data plane ask for it: the permission of a role, by name.

A route that asks for none would be open to every token; a test holds every route against this.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends

from deployments.front.access import Caller
from models.access import Permission
from models.errors import Forbidden
from models.principal import Principal


def needs(permission: Permission) -> Callable[..., Coroutine[Any, Any, Principal]]:
    """A dependency: the caller, if roles and scopes allow this; Forbidden otherwise."""

    async def dependency(caller: Caller) -> Principal:
        check(caller, permission)
        return caller

    dependency.__dict__["permission"] = permission
    return dependency


def check(caller: Principal, permission: Permission) -> None:
    """Forbidden unless roles and scopes of the caller allow this."""
    if not caller.may(permission):
        raise Forbidden(
            f"this needs the permission `{permission}`, which none of your roles, or not your key, has"
        )


Infers = Annotated[Principal, Depends(needs(Permission.INFER))]
ReadsModels = Annotated[Principal, Depends(needs(Permission.MODELS_READ))]
WritesModels = Annotated[Principal, Depends(needs(Permission.MODELS_WRITE))]
Subscribes = Annotated[Principal, Depends(needs(Permission.SUBSCRIBE_OWN))]
HasSignals = Annotated[Principal, Depends(needs(Permission.SIGNALS_OWN))]
HasEvents = Annotated[Principal, Depends(needs(Permission.EVENTS_OWN))]
ReadsHub = Annotated[Principal, Depends(needs(Permission.HUB_READ))]
