"""Keep models that serve the task asked for."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from models.request import Requirements
from routing.catalogue import Catalogue, Mask
from routing.plugin import Plugin


class TaskFilter(Plugin):
    """`task` on the card equals the task asked for."""

    type: Literal["task"]
    requirement: ClassVar[str] = "task"

    def keeps(self, wanted: Requirements, catalogue: Catalogue) -> Mask:
        return np.array([card.task == wanted.task for card in catalogue.cards], dtype=bool)

    def reason(self, wanted: Requirements, catalogue: Catalogue, model: int) -> str:
        return f"serves {catalogue.cards[model].task}, not {wanted.task}"

    def asked(self, wanted: Requirements) -> str:
        return wanted.task

    def best(self, _wanted: Requirements, catalogue: Catalogue, among: Mask) -> list[str]:
        """Tasks that are served."""
        return sorted({card.task for card, kept in zip(catalogue.cards, among, strict=True) if kept})
