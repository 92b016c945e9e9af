"""Keep models that the caller's tier may use."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from models.request import Requirements
from routing.catalogue import Catalogue, Mask
from routing.plugin import Plugin


class EntitlementFilter(Plugin):
    """The catalogue's entitlements name the model for the tier. A tier they do not name may use nothing."""

    type: Literal["entitlement"]
    requirement: ClassVar[str] = "tier"

    def keeps(self, wanted: Requirements, catalogue: Catalogue) -> Mask:
        if catalogue.entitlements is None:
            return np.ones(len(catalogue), dtype=bool)
        allowed = catalogue.entitlements.get(wanted.tier, frozenset())
        return np.array([card.name in allowed for card in catalogue.cards], dtype=bool)

    def reason(self, wanted: Requirements, catalogue: Catalogue, model: int) -> str:
        return f"{catalogue.cards[model].name} is not part of tier {wanted.tier}"

    def asked(self, wanted: Requirements) -> str:
        return wanted.tier

    def best(self, _wanted: Requirements, catalogue: Catalogue, among: Mask) -> list[str]:
        """Tiers that may use at least one of the models."""
        names = {card.name for card, kept in zip(catalogue.cards, among, strict=True) if kept}
        return sorted(tier for tier, allowed in (catalogue.entitlements or {}).items() if names & allowed)
