"""Who is calling, as verified."""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache

from models.access import Permission, permissions_of, platform_permissions_of
from models.base import Frozen


class Tier(StrEnum):
    """What a tenant pays for; an unknown tier is refused, never treated as free."""

    FREE = "free"
    PRO = "pro"
    ENTERPRISE = "enterprise"
    SERVICE = "service"


class Principal(Frozen):
    """Identity from a verified token or API key only; no header and no body field can change it.

    `scopes` are what an API key was confined to; None for a caller who may do all that its roles allow.
    `session_id` names the login session that the token belongs to, if there is one.
    """

    user_id: str
    tenant_id: str
    tier: Tier
    roles: frozenset[str]
    entitled_until_ns: int
    scopes: frozenset[str] | None = None
    session_id: str | None = None

    @property
    def permissions(self) -> frozenset[Permission]:
        """What the caller may do in its own tenant."""
        return _confined(self.roles, self.scopes, platform=False)

    @property
    def platform_permissions(self) -> frozenset[Permission]:
        """What the caller may do in every tenant."""
        return _confined(self.roles, self.scopes, platform=True)

    def may(self, permission: Permission) -> bool:
        """Whether roles and scopes allow it in the caller's own tenant."""
        return permission in self.permissions


@lru_cache(maxsize=4096)
def _confined(
    roles: frozenset[str], scopes: frozenset[str] | None, *, platform: bool
) -> frozenset[Permission]:
    """Asked several times a request, of few different roles."""
    allowed = platform_permissions_of(roles) if platform else permissions_of(roles)
    return allowed if scopes is None else frozenset(one for one in allowed if one.value in scopes)
