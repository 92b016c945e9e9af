"""Keep the model named, or every model that is live."""

from __future__ import annotations

from typing import ClassVar, Final, Literal

import numpy as np

from models.card import ModelCard, ModelStatus
from models.request import Requirements
from routing.catalogue import Catalogue, Mask
from routing.plugin import Plugin


class StatusFilter(Plugin):
    """A request that names a version gets that one whatever its status; one that names a model gets its live
    version, or one that is loaded and nothing more; any other gets live models only, or canaries only.
    """

    type: Literal["status"]
    requirement: ClassVar[str] = "model"

    def keeps(self, wanted: Requirements, catalogue: Catalogue) -> Mask:
        if wanted.model is None:
            return catalogue.canary if wanted.canary else catalogue.live
        return np.array([_answers_to(wanted.model, card) for card in catalogue.cards], dtype=bool)

    def reason(self, wanted: Requirements, catalogue: Catalogue, model: int) -> str:
        card = catalogue.cards[model]
        if wanted.model is None:
            return f"is {card.status.value}: answers only when named"
        if wanted.model == card.name:
            return f"is {card.status.value}: answers only when named with its version"
        return f"is not {wanted.model}"

    def asked(self, wanted: Requirements) -> str | None:
        return wanted.model

    def best(self, _wanted: Requirements, catalogue: Catalogue, among: Mask) -> list[str]:
        """Names that could be asked for."""
        return sorted({card.name for card, kept in zip(catalogue.cards, among, strict=True) if kept})


_BY_NAME: Final = frozenset({ModelStatus.LIVE, ModelStatus.LOAD_ONLY})


def _answers_to(name: str, card: ModelCard) -> bool:
    return name == str(card.key) or (name == card.name and card.status in _BY_NAME)
