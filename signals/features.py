"""The context tensor: what a model is told beside the returns.

One function serves a single live window and a training set, so that training and serving cannot differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.task import CONTEXT_FEATURES, WINDOW
from signals.windows import Window

_SHORT: Final = 32
_DAY_MS: Final = 86_400_000
_LEAST_VOLATILITY: Final = 1e-6  # a fraction of one price step, so that a flat window divides by something


def context_of(
    returns: NDArray[np.float32], spreads: NDArray[np.float64], close_ms: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Context float32[n, k] of n windows, columns in the order of `CONTEXT_FEATURES`.

    `returns` is float32[n, 256], `spreads` relative, `close_ms` market time in UTC. Volatility is the root
    mean square return of a bar over the last 32 or all 256; momentum is the sum of returns in units of the
    volatility expected over as many bars.
    """
    exact = returns.astype(np.float64)
    recent = np.ascontiguousarray(exact[:, -_SHORT:])
    angle = close_ms % _DAY_MS * (2 * math.pi / _DAY_MS)
    vol_short, vol_long = _volatility(recent), _volatility(exact)
    columns = {
        "hour_sin": np.sin(angle),
        "hour_cos": np.cos(angle),
        "spread_rel": spreads,
        "vol_short": vol_short,
        "vol_long": vol_long,
        "vol_ratio": vol_short / vol_long,
        "momentum_short": recent.sum(axis=1) / (vol_short * math.sqrt(_SHORT)),
        "momentum_long": exact.sum(axis=1) / (vol_long * math.sqrt(WINDOW)),
    }
    return np.stack([columns[name] for name in CONTEXT_FEATURES], axis=1).astype(np.float32)


def tensors_of(windows: Sequence[Window]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The two input tensors for a call with these windows: float32[n, 256] and float32[n, k]."""
    returns = np.stack([window.returns for window in windows])
    spreads = np.array([window.spread for window in windows], dtype=np.float64)
    close_ms = np.array([window.close_ms for window in windows], dtype=np.int64)
    return returns, context_of(returns, spreads, close_ms)


def _volatility(returns: NDArray[np.float64]) -> NDArray[np.float64]:
    mean_square: NDArray[np.float64] = np.mean(returns * returns, axis=1)
    return np.maximum(np.sqrt(mean_square), _LEAST_VOLATILITY)
