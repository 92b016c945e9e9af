"""Keep models trained for the bar length and the horizon asked for."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from models.request import Requirements
from routing.catalogue import Catalogue, Mask
from routing.plugin import Plugin


class HorizonFilter(Plugin):
    """`bar_ms` and `horizon_ms` of the contract equal those of the request, where it gives them."""

    type: Literal["horizon"]
    requirement: ClassVar[str] = "horizon_ms"

    def keeps(self, wanted: Requirements, catalogue: Catalogue) -> Mask:
        kept = np.ones(len(catalogue), dtype=bool)
        if wanted.bar_ms is not None:
            kept &= catalogue.bar_ms == wanted.bar_ms
        if wanted.horizon_ms is not None:
            kept &= catalogue.horizon_ms == wanted.horizon_ms
        return kept

    def reason(self, _wanted: Requirements, catalogue: Catalogue, model: int) -> str:
        contract = catalogue.cards[model].contract
        return f"forecasts {contract.horizon_ms} ms from bars of {contract.bar_ms} ms"

    def asked(self, wanted: Requirements) -> dict[str, int | None]:
        return {"bar_ms": wanted.bar_ms, "horizon_ms": wanted.horizon_ms}

    def best(self, _wanted: Requirements, catalogue: Catalogue, among: Mask) -> list[dict[str, int]]:
        """Pairs of bar and horizon on offer."""
        pairs = sorted({(int(catalogue.bar_ms[i]), int(catalogue.horizon_ms[i])) for i in among.nonzero()[0]})
        return [{"bar_ms": bar_ms, "horizon_ms": horizon_ms} for bar_ms, horizon_ms in pairs]
