"""A row like any other: what health checks and warm-ups run."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.card import ModelCard
from models.task import CONTEXT_FEATURES, WINDOW

ORDINARY_LEVEL: Final = 0.95
_RETURN: Final = 5e-5
"""Half a basis point, the size of a real bar's return: a window of zeros has no spread to forecast with."""


def ordinary_row(card: ModelCard) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One window of alternating small returns, with every context feature in the middle of its domain."""
    window = np.full((1, WINDOW), _RETURN, np.float32)
    window[:, ::2] *= -1
    domain = card.calibration.domain
    middle = [sum(domain.get(name, (0.0, 0.0))) / 2 for name in CONTEXT_FEATURES]
    return window, np.array([middle], np.float32)
