"""Rolling conformal calibration: multipliers from the latest outcomes, so that promises hold in a new regime.

The multiplier of a level is the ceil((n + 1) level)-th smallest of the last n scores, which are |outcome -
median| / scale (split conformal prediction, Lei et al. 2018, on a window that rolls).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Final

from models.evidence import Levels
from models.task import INTERVAL_LEVELS

_APART: Final = 1.0 + 1e-6
"""A wider level's interval is wider, also where the same score is the quantile of both."""


def multipliers_of(scores: Collection[float]) -> Levels:
    """One multiplier a level, growing with it."""
    ordered, found = sorted(scores), list[float]()
    for level in INTERVAL_LEVELS:
        rank = min(math.ceil((len(ordered) + 1) * level), len(ordered))
        least = found[-1] * _APART if found else 1e-12
        found.append(max(ordered[rank - 1], least))
    return tuple(found)
