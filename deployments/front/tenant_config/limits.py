"""What limiters hold a tenant to: its tier's limits, as far as its own config does not lower them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from deployments.front.limits import TierLimits
from deployments.front.tenant_config.view import TenantConfigView
from models.principal import Tier
from models.resources import Resource

_RESOURCES: Final = {resource: f"limits.{resource}" for resource in Resource}
_KEPT: Final = 1024


class TenantLimits:
    """The `LimitsView` of a hub whose tenants have a config. Those with the same limits share one object."""

    def __init__(self, view: TenantConfigView) -> None:
        self._view = view
        self._made = lru_cache(maxsize=_KEPT)(self._make)

    def of(self, tenant_id: str, tier: Tier) -> TierLimits:
        """The tenant's limits, if its tier is `tier`."""
        found = self._view.limits(tenant_id, tier)
        resources = tuple(found[name] for name in _RESOURCES.values())
        return self._made(
            tier, (found["limits.tenant_rate"], found["limits.user_rate"], found["limits.sockets"]), resources
        )

    def _make(self, tier: Tier, held: tuple[str, str, int], resources: tuple[int, ...]) -> TierLimits:
        """The tier's own line with what config says in place of it."""
        said: dict[str, Any] = dict(zip(("tenant", "user", "sockets"), held, strict=True))
        said["resources"] = dict(zip(_RESOURCES, resources, strict=True))
        return self._view.tiers.tiers[tier].model_copy(update=said)
