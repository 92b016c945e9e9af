"""Keep models made for every instrument asked for."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from models.request import Requirements
from routing.catalogue import Catalogue, Mask
from routing.plugin import Plugin


class InstrumentFilter(Plugin):
    """Each instrument of the request stands on the card, or the card serves any (`*`)."""

    type: Literal["instrument"]
    requirement: ClassVar[str] = "symbol"

    def keeps(self, wanted: Requirements, catalogue: Catalogue) -> Mask:
        return np.array([all(map(card.serves, wanted.instruments)) for card in catalogue.cards], dtype=bool)

    def reason(self, wanted: Requirements, catalogue: Catalogue, model: int) -> str:
        missing = [name for name in wanted.instruments if not catalogue.cards[model].serves(name)]
        return f"was not made for {', '.join(missing)}"

    def asked(self, wanted: Requirements) -> list[str]:
        return list(wanted.instruments)

    def best(self, _wanted: Requirements, catalogue: Catalogue, among: Mask) -> list[str]:
        """Instruments that one of the models was made for."""
        served = (
            card.contract.instruments for card, kept in zip(catalogue.cards, among, strict=True) if kept
        )
        return sorted({name for names in served for name in names})
