"""Who a verified token says is calling."""

from __future__ import annotations

from enum import StrEnum

from models.base import Frozen


class Tier(StrEnum):
    """What a tenant pays for; an unknown tier is refused, never treated as free."""

    FREE = "free"
    PRO = "pro"
    ENTERPRISE = "enterprise"
    SERVICE = "service"


class Principal(Frozen):
    """Identity from a verified token only; no header and no body field can change it."""

    user_id: str
    tenant_id: str
    tier: Tier
    roles: frozenset[str]
    entitled_until_ns: int

    @property
    def is_admin(self) -> bool:
        return "admin" in self.roles
