"""Which slots are due: where history ends, where playback ends, and the bar closes between.

The feeder, the forecaster and the ledger's independent reader must agree on this, so it is arithmetic on the
tick files alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from models.errors import BadValue
from models.task import WINDOW
from signals.bars import first_close


@dataclass(frozen=True, slots=True)
class TickSpan:
    """Market time of the first and the last tick of a symbol."""

    first_ms: int
    last_ms: int


def due_closes(start_ms: int, end_ms: int, bar_ms: int) -> range:
    """Every bar close after `start_ms` until `end_ms` inclusive, whether or not a tick fell in the bar."""
    return range(first_close(start_ms, bar_ms), end_ms + 1, bar_ms)


def history_end(spans: Mapping[str, TickSpan], bar_sizes: Iterable[int]) -> int:
    """Market time at which history ends and playback starts, one for all symbols.

    The latest at which each symbol has its 256 returns at each bar size. BadValue names a symbol whose
    ticks end before that, with the length it would need.
    """
    sizes = tuple(bar_sizes)
    end_ms = max(_window_ready(span.first_ms, bar_ms) for span in spans.values() for bar_ms in sizes)
    for symbol, span in spans.items():
        if span.last_ms < end_ms + max(sizes):
            raise _too_short(symbol, span, end_ms + max(sizes))
    return end_ms


def playback_end(spans: Mapping[str, TickSpan], start_ms: int, wanted_ms: int) -> int:
    """Market time at which playback ends: as asked for, but not beyond the file that ends first."""
    return min(start_ms + wanted_ms, *(span.last_ms for span in spans.values()))


def _window_ready(first_ms: int, bar_ms: int) -> int:
    return first_close(first_ms, bar_ms) + WINDOW * bar_ms


def _too_short(symbol: str, span: TickSpan, needed_until_ms: int) -> BadValue:
    has_s = (span.last_ms - span.first_ms) // 1000
    needs_s = -((span.first_ms - needed_until_ms) // 1000)
    return BadValue(
        f"the ticks of {symbol} span {has_s} s of market time; its windows ({WINDOW} returns) "
        f"and one slot need at least {needs_s} s: give a longer tick file",
        field="ticks",
    )
