"""What was owed in a playback: arithmetic on tick files and strategies, never asked of the hub."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from models.errors import BadValue
from models.strategy import Strategy
from serve_app.ticks import load_ticks, tick_option
from signals.due import TickSpan, due_closes, history_end, playback_end
from signals.ledger import SlotKey


def load_played(ticks: Iterable[str]) -> dict[str, TickSpan]:
    """The market time that each `SYMBOL=FILE` covers."""
    files = load_ticks(tick_option(text) for text in ticks)
    return {symbol: file.span for symbol, file in files.items()}


def played_slots(
    strategies: Iterable[Strategy], spans: Mapping[str, TickSpan], *, seconds: float, speed: float
) -> list[SlotKey]:
    """Every slot that the strategies owe for `seconds` of playback; BadValue if no strategy owes any."""
    played = [strategy for strategy in strategies if spans.keys() & set(strategy.symbols)]
    if not played:
        raise BadValue(f"no strategy is of {', '.join(sorted(spans))}", field="ticks")
    start_ms = history_end(spans, {strategy.bar_ms for strategy in played})
    end_ms = playback_end(spans, start_ms, int(seconds * speed * 1000))
    return due_slots(played, start_ms, end_ms, spans)


def due_slots(
    strategies: Sequence[Strategy], start_ms: int, end_ms: int, symbols: Iterable[str]
) -> list[SlotKey]:
    """Every slot that the strategies owe for the played symbols."""
    played = set(symbols)
    return [
        SlotKey(strategy.ref, symbol, strategy.horizon_ms, close)
        for strategy in strategies
        for symbol in sorted(played.intersection(strategy.symbols))
        for close in due_closes(start_ms, end_ms, strategy.bar_ms)
    ]
