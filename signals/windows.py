"""Bars to windows: the last 256 log returns of a symbol, as every model takes them."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.market import Bar
from models.task import WINDOW


@dataclass(frozen=True, slots=True)
class Window:
    """Model input at a bar close: `returns` float32[256], oldest first; `spread` is relative."""

    symbol: str
    bar_ms: int
    close_ms: int
    returns: NDArray[np.float32]
    spread: float


def log_return(before: float, after: float) -> float:
    """Log return between two mids; scalar, so that serving and training agree to the last bit."""
    return math.log(after / before)


def relative_spread(bar: Bar) -> float:
    """Spread at the close as a share of the price: the same unit as a log return."""
    return bar.spread / bar.close


class RollingWindow:
    """The last 256 log returns of one (symbol, bar_ms).

    A bar that is not newer than the last is ignored. A hole in the sequence of bars empties the window, for
    returns across it would be wrong: whoever owns the symbol feeds the stored bars again.
    """

    def __init__(self) -> None:
        self._returns: deque[float] = deque(maxlen=WINDOW)
        self._last: Bar | None = None

    @property
    def ready(self) -> bool:
        """Whether 256 returns without a hole are known."""
        return len(self._returns) == WINDOW

    @property
    def last_close_ms(self) -> int | None:
        """Close of the newest bar taken."""
        return self._last.close_ms if self._last else None

    def add(self, bar: Bar) -> bool:
        """Take the next bar; False if it is not newer than the last."""
        if self._last is not None and bar.close_ms <= self._last.close_ms:
            return False
        if self._last is not None and bar.close_ms == self._last.close_ms + bar.bar_ms:
            self._returns.append(log_return(self._last.close, bar.close))
        else:
            self._returns.clear()
        self._last = bar
        return True

    def window(self) -> Window | None:
        """The window at the newest close, or None while fewer than 256 returns are known."""
        if self._last is None or not self.ready:
            return None
        return Window(
            symbol=self._last.symbol,
            bar_ms=self._last.bar_ms,
            close_ms=self._last.close_ms,
            returns=np.array(self._returns, dtype=np.float32),
            spread=relative_spread(self._last),
        )
