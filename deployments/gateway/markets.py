"""Windows for requests that name a symbol instead of sending inputs.

Bars come from the market feed, windows and features from `signals/`: the same code that the forecaster and
training use.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from messaging.ports import MarketFeed
from models.errors import BadValue, NoWindow, UnknownSymbol
from models.ids import checked_symbol
from models.strategy import Strategy
from models.task import WINDOW
from signals.features import tensors_of
from signals.windows import RollingWindow


@dataclass(frozen=True, slots=True)
class Tensors:
    """Model inputs: `window` float32[n, 256], `context` float32[n, k]; `bar_ms` where the hub chose it."""

    window: NDArray[np.float32]
    context: NDArray[np.float32]
    bar_ms: int | None = None

    @property
    def rows(self) -> int:
        return len(self.window)


class Markets:
    """The symbols and bar widths the hub keeps bars for: those of its strategies."""

    def __init__(self, feed: MarketFeed, strategies: Iterable[Strategy]) -> None:
        self._feed = feed
        self._widths: dict[str, set[int]] = {}
        for strategy in strategies:
            for symbol in strategy.symbols:
                self._widths.setdefault(symbol, set()).add(strategy.bar_ms)

    def check(self, symbol: str) -> None:
        """Raise UnknownSymbol, naming the known ones, unless the hub keeps bars for the symbol."""
        if checked_symbol(symbol) not in self._widths:
            known = ", ".join(sorted(self._widths)) or "none"
            raise UnknownSymbol(
                f"the hub keeps no bars for this symbol; it does for: {known}", field="symbol"
            )

    async def tensors(self, symbol: str, bar_ms: int | None) -> Tensors:
        """The newest window of the symbol; NoWindow while there are too few bars without a hole."""
        self.check(symbol)
        width = self._width(symbol, bar_ms)
        bars, _ = await self._feed.bars(symbol, width, limit=WINDOW + 1)
        rolling = RollingWindow()
        for bar in bars:
            rolling.add(bar)
        newest = rolling.window()
        if newest is None:
            raise NoWindow(
                f"the hub holds {len(bars)} bars of {width} ms for {symbol}, and needs {WINDOW + 1} in a row",
                field="symbol",
                retry_after_s=width / 1000,
            )
        window, context = tensors_of([newest])
        return Tensors(window, context, bar_ms=width)

    def _width(self, symbol: str, bar_ms: int | None) -> int:
        widths = sorted(self._widths[symbol])
        if bar_ms is None and len(widths) == 1:
            return widths[0]
        if bar_ms not in widths:
            raise BadValue(f"bar_ms must be one of {widths} for {symbol}", field="bar_ms")
        return bar_ms
