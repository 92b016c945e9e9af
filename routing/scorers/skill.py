"""Prefer the model whose measured skill is surely the highest."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from routing.latency import Floats
from routing.plugin import Plugin, Traits


class SkillScorer(Plugin):
    """Logistic of the lower bound on skill over `scale`: 0.5 is as good as naive, 0 is not measured."""

    type: Literal["skill"]
    scale: Annotated[float, Field(gt=0)] = 0.1

    def of_traits(self, traits: Traits) -> Floats:
        return 0.5 * (1.0 + np.tanh(traits.skill_lower / (2.0 * self.scale)))
