"""Which layer wins: global, environment, tier, tenant, user, each over those before it.

A bounding setting is what the platform's layers say, lowered by the tenant, lowered by the user. A layer that
asks for more than it inherits is refused when it is written. If what it inherits is lowered later, it is
overruled, and the origin says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from deployments.front.limits import TierLimits
from deployments.front.tenant_config.documents import SECRET_UNSET
from deployments.front.tenant_config.schema import SCHEMA, Setting, setting_of, shown
from deployments.front.tenant_config.values import exceeds
from models.errors import BadValue
from models.tenant_config import OWN_LAYERS, Layer


class LayerValues(NamedTuple):
    """What a layer says in one version. Version 0: nobody wrote it; the hub's own files may have."""

    layer: Layer
    version: int
    values: Mapping[str, Any]


class Origin(NamedTuple):
    """Where a value is from. `overrules` is the layer that asks for more than it may have."""

    layer: Layer
    version: int
    overrules: Layer | None = None

    def told(self) -> Mapping[str, Any]:
        """As answers have it; the same object for the same origin."""
        return _told(self)


@lru_cache(maxsize=4096)
def _told(origin: Origin) -> dict[str, Any]:
    told: dict[str, Any] = {"layer": origin.layer.value, "version": origin.version}
    return told | {"overrules": origin.overrules.value} if origin.overrules else told


class Resolved(NamedTuple):
    """A value and an origin for every setting there is."""

    values: dict[str, Any]
    origins: dict[str, Origin]

    def under(self, layer: LayerValues) -> Resolved:
        """What holds if this layer comes on top. What this release does not know, or would not have taken, is
        as if it were not there: another release may have written it.
        """
        values, origins = dict(self.values), dict(self.origins)
        own = layer.layer in OWN_LAYERS
        origin = Origin(layer.layer, layer.version)
        for name, value in layer.values.items():
            setting = SCHEMA.get(name)
            if setting is None or not _counts(setting, layer.layer, value):
                continue
            if own and setting.bounding and exceeds(setting.kind, value, values[name]):
                origins[name] = origins[name]._replace(overrules=layer.layer)
            else:
                values[name], origins[name] = value, origin
        return Resolved(values, origins)


NOTHING_SAID: Final = Resolved(
    {name: SECRET_UNSET if setting.secret else setting.default for name, setting in SCHEMA.items()},
    dict.fromkeys(SCHEMA, Origin(Layer.DEFAULT, 0)),
)


def resolve(layers: Iterable[LayerValues]) -> Resolved:
    """What holds under these layers, the widest first."""
    resolved = NOTHING_SAID
    for layer in layers:
        resolved = resolved.under(layer)
    return resolved


def tier_values(allowed: TierLimits | None) -> LayerValues:
    """What the hub's own table says of a tier: the tier's layer before anybody wrote it."""
    if allowed is None:
        return LayerValues(Layer.TIER, 0, {})
    rates: dict[str, Any] = {"limits.tenant_rate": allowed.tenant, "limits.user_rate": allowed.user}
    resources = {f"limits.{resource}": limit for resource, limit in allowed.resources.items()}
    return LayerValues(Layer.TIER, 0, rates | {"limits.sockets": allowed.sockets} | resources)


def check_within(inherited: Resolved, layer: Layer, values: Mapping[str, Any]) -> None:
    """BadValue that names the cap and whose it is, if the layer asks for more than it inherits."""
    for name, value in values.items():
        setting = setting_of(name)
        if not setting.bounding or not exceeds(setting.kind, value, inherited.values[name]):
            continue
        cap, origin = inherited.values[name], inherited.origins[name]
        raise BadValue(
            f"{name} was {shown(value)}; the layer `{origin.layer}` caps it at {shown(cap)}, which"
            f" `{layer}` may lower and not raise",
            field=name,
            details={"cap": cap, "layer": origin.layer, "version": origin.version},
        )


def _counts(setting: Setting, layer: Layer, value: Any) -> bool:
    if setting.secret:
        return isinstance(value, dict) and layer in OWN_LAYERS
    return setting.may_be_set_in(layer) and setting.accepts(value)
