"""Who acts on which tenant, and the answers to those who may not."""

from __future__ import annotations

from typing import NamedTuple

from models.access import Permission
from models.errors import Forbidden, NotFound
from models.principal import Principal


class Acting(NamedTuple):
    """A caller who may do what the route is for, in this tenant."""

    caller: Principal
    tenant_id: str

    def may(self, permission: Permission) -> bool:
        """Whether the caller has another permission here, too."""
        caller = self.caller
        allowed = caller.permissions if self.tenant_id == caller.tenant_id else caller.platform_permissions
        return permission in allowed


def absent() -> NotFound:
    """The one answer to what is not there and to what is somebody else's."""
    return NotFound("there is nothing of that name for you")


def lacking(permission: Permission) -> Forbidden:
    """The answer to a caller whose role is too weak."""
    return Forbidden(f"this needs the permission `{permission}`, which none of your roles has")
