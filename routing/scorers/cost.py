"""Prefer the cheaper model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from routing.latency import Floats
from routing.plugin import Plugin, Traits


class CostScorer(Plugin):
    """1 / (1 + cost / half): 1 for a model that is free, 0.5 at a cost of `half`."""

    type: Literal["cost"]
    half: Annotated[float, Field(gt=0)] = 1.0

    def of_traits(self, traits: Traits) -> Floats:
        return 1.0 / (1.0 + traits.cost / self.half)
