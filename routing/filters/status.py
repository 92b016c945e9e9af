"""Keep the model named, or every model that is live."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from models.request import Requirements
from routing.catalogue import Catalogue, Mask
from routing.plugin import Plugin


class StatusFilter(Plugin):
    """A request that names a model gets that one whatever its status; any other gets live models only."""

    type: Literal["status"]
    requirement: ClassVar[str] = "model"

    def keeps(self, wanted: Requirements, catalogue: Catalogue) -> Mask:
        if wanted.model is None:
            return catalogue.live
        named = zip(catalogue.cards, catalogue.keys, strict=True)
        return np.array([wanted.model in {card.name, key} for card, key in named], dtype=bool)

    def reason(self, wanted: Requirements, catalogue: Catalogue, model: int) -> str:
        if wanted.model is None:
            return f"is {catalogue.cards[model].status.value}: answers only when named"
        return f"is not {wanted.model}"

    def asked(self, wanted: Requirements) -> str | None:
        return wanted.model

    def best(self, _wanted: Requirements, catalogue: Catalogue, among: Mask) -> list[str]:
        """Names that could be asked for."""
        return sorted({card.name for card, kept in zip(catalogue.cards, among, strict=True) if kept})
