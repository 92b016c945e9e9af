"""Take the candidate that only just fits, and keep the fast ones for those who need them."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from routing.latency import Completion, Floats
from routing.pickers.best import SAME
from routing.plugin import Plugin

_SEEDS = 1 << 53


class TightestFitPicker(Plugin):
    """Of those whose quantile leaves `headroom` of the budget free, the one with the largest quantile; if
    none does, the one with the smallest. Equal ones by score, then at random.
    """

    type: Literal["tightest_fit"]
    headroom: Annotated[float, Field(ge=0, lt=1)] = 0.1

    def pick(self, scores: Floats, _ties: Floats | None, completion: Completion, seed: int) -> int | None:
        fitting = scores >= 0.0
        quantile_ms = completion.quantile_ms
        if quantile_ms is None or not fitting.any():
            return None
        roomy = fitting & (quantile_ms <= (1.0 - self.headroom) * completion.budget_ms)
        if roomy.any():
            fit = np.where(roomy, quantile_ms, -np.inf)
        else:
            fit = np.where(fitting, -quantile_ms, -np.inf)
        equal = (fit >= fit.max() - SAME).nonzero()[0]
        equal = equal[scores[equal] >= scores[equal].max() - SAME]
        return int(equal[seed * equal.size // _SEEDS])
