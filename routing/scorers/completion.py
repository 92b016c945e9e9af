"""Prefer the candidate that is predicted to answer first."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np

from routing.latency import Completion, Floats
from routing.plugin import Plugin

_ONE: Final = np.array(1.0)  # numpy is faster with an array of no dimension than with a float


class CompletionScorer(Plugin):
    """Share of what is left of the deadline that would be left after the answer: 1 - expected / budget."""

    type: Literal["completion"]

    def of_completion(self, completion: Completion) -> Floats:
        return _ONE - completion.expected_ms / completion.budget_ms
