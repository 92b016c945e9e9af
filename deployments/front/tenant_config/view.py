"""What holds for a tenant or a user, from this process's own copy of `hub.tenants`. Asks nobody.

What the platform's layers come to is kept, once for each tier. A tenant's own values are laid over it at each
lookup: that takes microseconds, and nothing is kept for a tenant, however many there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from deployments.front.limits import Tiers
from deployments.front.tenant_config.documents import nested
from deployments.front.tenant_config.resolution import (
    LayerValues,
    Origin,
    Resolved,
    resolve,
    tier_values,
)
from deployments.front.tenant_config.schema import FEATURES, SCHEMA
from deployments.front.tenant_config.values import EVERYBODY, percent
from deployments.front.tenants_fold import TenantsFold
from models.principal import Tier
from models.tenant import PlatformConfigRecord, TenantStatus
from models.tenant_config import Layer, LayerKey

_PARTS: Final = 1 << 32
_LIMITS: Final = frozenset(name for name in SCHEMA if name.startswith("limits."))


class Owner(NamedTuple):
    """Whose config it is: a tenant's, or a user's."""

    tenant_id: str
    user_id: str | None
    tier: Tier


@dataclass(frozen=True, slots=True)
class EffectiveConfig:
    """What holds for a tenant, or for one of its users, with where each value is from.

    `versions` are those of the layers it was made of.
    """

    tenant_id: str
    user_id: str | None
    tier: Tier
    environment: str
    versions: Mapping[Layer, int]
    values: Mapping[str, Any]
    origins: Mapping[str, Origin]

    def __getitem__(self, name: str) -> Any:
        """The value of a setting, None where none is set; KeyError for one that does not exist."""
        return self.values[name]

    def enabled(self, feature: str) -> bool:
        """Whether the feature is on for this user. Without a user, one that is rolled out in part is off."""
        return is_on(feature, percent(self.values[feature]), self.user_id)

    def told(self) -> dict[str, Any]:
        """As `GET /config/{tenant_id}` answers. `version` is that of the tenant's own layer."""
        return {
            "status": "success",
            "tenant_id": self.tenant_id,
            "user_id": self.user_id,
            "tier": self.tier,
            "environment": self.environment,
            "version": self.versions[Layer.TENANT],
            "versions": {layer.value: version for layer, version in self.versions.items()},
            "config": nested(self.values),
            "origins": {name: origin.told() for name, origin in self.origins.items()},
            "features": {name.partition(".")[2]: self.enabled(name) for name in FEATURES},
        }


class TenantConfigView:
    """Looks up what holds, in `environment`. `tiers` is the table of what each tier allows: what a tier's
    layer says until somebody writes it.
    """

    def __init__(self, fold: TenantsFold, *, tiers: Tiers, environment: str) -> None:
        self._fold = fold
        self.tiers = tiers
        self.environment = environment
        self._bases: dict[Tier, _Base] = {}

    def of(self, tenant_id: str, user_id: str | None = None) -> EffectiveConfig | None:
        """What holds for the tenant, or for one of its users; None for a tenant that is not there."""
        tenant = self._fold.tenant(tenant_id)
        if tenant is None or tenant.status is TenantStatus.DELETED:
            return None
        own = [LayerValues(Layer.TENANT, tenant.config_version, tenant.config)]
        if user_id is not None:
            user = self._fold.user(tenant_id, user_id)
            own.append(LayerValues(Layer.USER, *((user.config_version, user.config) if user else (0, {}))))
        return self.over(Owner(tenant_id, user_id, tenant.tier), own)

    def over(self, owner: Owner, own: Iterable[LayerValues]) -> EffectiveConfig:
        """What holds for somebody whose own layers are these, over the platform's as they are known here."""
        base = self._base(owner.tier)
        resolved, versions = base.resolved, dict(base.versions)
        for layer in own:
            resolved = resolved.under(layer)
            versions[layer.layer] = layer.version
        return EffectiveConfig(*owner, self.environment, versions, resolved.values, resolved.origins)

    def platform(self, tier: Tier) -> Resolved:
        """What the platform's layers say to every tenant of a tier."""
        return self._base(tier).resolved

    def limits(self, tenant_id: str, tier: Tier) -> Mapping[str, Any]:
        """The `limits.*` of a tenant if its tier is `tier`, whatever its record says of that; of one that is
        not known those of the tier.
        """
        inherited = self._base(tier).limits
        tenant = self._fold.tenant(tenant_id)
        lower = {name: value for name, value in tenant.config.items() if name in _LIMITS} if tenant else {}
        return inherited.under(LayerValues(Layer.TENANT, 0, lower)).values if lower else inherited.values

    def _base(self, tier: Tier) -> _Base:
        records = tuple(self._fold.platform_config(str(key)) for key in self._platform_layers(tier))
        base = self._bases.get(tier)
        if base is None or any(new is not old for new, old in zip(records, base.records, strict=True)):
            base = self._bases[tier] = self._made(tier, records)
        return base

    def _platform_layers(self, tier: Tier) -> tuple[LayerKey, LayerKey, LayerKey]:
        return (
            LayerKey(Layer.GLOBAL),
            LayerKey(Layer.ENVIRONMENT, self.environment),
            LayerKey(Layer.TIER, tier.value),
        )

    def _made(self, tier: Tier, records: tuple[PlatformConfigRecord | None, ...]) -> _Base:
        names = (Layer.GLOBAL, Layer.ENVIRONMENT, Layer.TIER)
        layers = [
            LayerValues(layer, record.config_version, record.config) if record else LayerValues(layer, 0, {})
            for layer, record in zip(names, records, strict=True)
        ]
        resolved = resolve([*layers[:2], tier_values(self.tiers.tiers.get(tier)), layers[2]])
        limits = Resolved(*({name: part[name] for name in _LIMITS} for part in resolved))
        return _Base(records, {layer.layer: layer.version for layer in layers}, resolved, limits)


class _Base(NamedTuple):
    """What the platform's layers come to, and the records that say so."""

    records: tuple[PlatformConfigRecord | None, ...]
    versions: dict[Layer, int]
    resolved: Resolved
    limits: Resolved


def is_on(feature: str, share: float, user_id: str | None) -> bool:
    """Whether a feature that is on for this share of the users, in per cent, is on for this one.

    The same user gets the same answer in every process, and who has it at some share has it at every larger
    one. Features draw their users independently.
    """
    if share >= EVERYBODY or user_id is None:
        return share >= EVERYBODY
    digest = blake2b(f"{feature}\x1f{user_id}".encode(), digest_size=4, person=b"hub-feature").digest()
    return int.from_bytes(digest, "big") * EVERYBODY < share * _PARTS
