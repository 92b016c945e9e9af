"""Prefer the candidate that is predicted to answer first."""

from __future__ import annotations

from typing import Literal

from routing.latency import Numbers
from routing.plugin import Plugin


class CompletionScorer(Plugin):
    """Share of what is left of the deadline that would be left after the answer: 1 - expected / budget."""

    type: Literal["completion"]

    def of_completion(self, expected_ms: Numbers, budget_ms: float) -> Numbers:
        return 1.0 - expected_ms / budget_ms
