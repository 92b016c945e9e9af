"""Keep models that cover the outcome often enough, by a bound and not by an average."""

from __future__ import annotations

from typing import ClassVar, Literal, TypedDict

import numpy as np

from models.request import Requirements
from routing.catalogue import Catalogue, Mask
from routing.plugin import Plugin


class Offer(TypedDict):
    """The highest lower bound on coverage that a model reaches, at its widest interval."""

    min_accuracy: float
    model: str


class AccuracyFilter(Plugin):
    """Some interval level's lower bound on measured coverage clears `min_accuracy` for every instrument."""

    type: Literal["accuracy"]
    requirement: ClassVar[str] = "min_accuracy"

    def keeps(self, wanted: Requirements, catalogue: Catalogue) -> Mask:
        return catalogue.answer_level(wanted.instruments, wanted.min_accuracy) >= 0

    def reason(self, wanted: Requirements, catalogue: Catalogue, model: int) -> str:
        bound = catalogue.coverage_lower(wanted.instruments)[model].max()
        return (
            f"covers {max(0.0, bound):.2%} for certain at its widest interval, not {wanted.min_accuracy:.2%}"
        )

    def asked(self, wanted: Requirements) -> float | None:
        return wanted.min_accuracy

    def best(self, wanted: Requirements, catalogue: Catalogue, among: Mask) -> Offer:
        bounds = np.where(among, catalogue.coverage_lower(wanted.instruments).max(axis=1), -np.inf)
        model = int(bounds.argmax())
        return {"min_accuracy": round(max(0.0, float(bounds[model])), 6), "model": catalogue.keys[model]}
