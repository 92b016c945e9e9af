"""Bars that a hub recorded: every slot of `hub.predictions` carries the quote at its close.

Windows are made of closes and spreads alone, so these are as good to learn from as bars built from ticks; of
what happened inside a bar they say nothing. A week of them is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from messaging.config import KafkaConfig
from messaging.connect import open_bus
from messaging.history import epochs_at
from messaging.ports import EventBus
from messaging.topics import PREDICTIONS, partition_of
from models.errors import BadValue
from models.market import Bar
from models.metrics import MemoryMeter
from models.prediction import Prediction, Skipped
from signals.reader import PredictionRules, Verdict


@dataclass(frozen=True, slots=True)
class RecordedBars:
    """Bars by symbol, in the order of their closes."""

    bars: Mapping[str, Sequence[Bar]]

    @classmethod
    def read(cls, bootstrap: str, symbols: Sequence[str]) -> RecordedBars:
        """All that the hub at these Kafka servers has recorded of the symbols. Blocks."""
        return asyncio.run(_read(bootstrap, symbols))

    def sessions(self, symbol: str, bar_ms: int) -> Iterator[list[Bar]]:
        """Bars of this size, split wherever one is missing."""
        session: list[Bar] = []
        for bar in self._of(symbol, bar_ms):
            if session and bar.close_ms != session[-1].close_ms + bar_ms:
                yield session
                session = []
            session.append(bar)
        yield session

    def until(self, symbols: Sequence[str], bar_ms: int) -> datetime:
        """The last close that is known of every symbol."""
        last_ms = min(self._of(symbol, bar_ms)[-1].close_ms for symbol in symbols)
        return datetime.fromtimestamp(last_ms / 1000, UTC)

    def provenance(self, symbols: Sequence[str]) -> dict[str, str]:
        """Which bars, and a hash of them."""
        kept = [bar for symbol in symbols for bar in self.bars.get(symbol, ())]
        counts = ", ".join(f"{len(self.bars.get(symbol, ())):,} of {symbol}" for symbol in symbols)
        digest = sha256("\n".join(f"{bar.symbol} {bar.close_ms} {bar.close!r}" for bar in kept).encode())
        return {"data": f"bars recorded by the hub: {counts}", "data_sha256": digest.hexdigest()}

    def _of(self, symbol: str, bar_ms: int) -> list[Bar]:
        found = [bar for bar in self.bars.get(symbol, ()) if bar.bar_ms == bar_ms]
        if not found:
            raise BadValue(f"the hub has recorded no {bar_ms} ms bars of {symbol}", field="from-hub")
        return found


async def _read(bootstrap: str, symbols: Sequence[str]) -> RecordedBars:
    bus = await open_bus(KafkaConfig(bootstrap=bootstrap), client_id="hub-training", meter=MemoryMeter())
    try:
        return RecordedBars({symbol: await bars_recorded(bus, symbol) for symbol in symbols})
    finally:
        await bus.close()


async def bars_recorded(bus: EventBus, symbol: str) -> list[Bar]:
    """The bars of a symbol that valid records tell of, each once, in the order of their closes."""
    partition = partition_of(symbol.encode(), PREDICTIONS.partitions)
    first, end = await bus.bounds(PREDICTIONS.name, partition)
    rules = PredictionRules(await epochs_at(bus, PREDICTIONS.name, partition, first))
    found: dict[tuple[int, int], Bar] = {}
    async for records in bus.read(PREDICTIONS.name, partition, first, end):
        for record in records:
            reading = rules.take(record.offset, record.key, record.value)
            bar = _bar(reading.owed) if reading.verdict is Verdict.ACCEPTED else None
            if bar and bar.symbol == symbol:
                found[bar.bar_ms, bar.close_ms] = bar
    return [found[key] for key in sorted(found)]


def _bar(owed: Prediction | Skipped | None) -> Bar | None:
    if owed is None or owed.reference is None:
        return None
    slot, quote = owed.slot, owed.reference
    mid = (quote.bid + quote.ask) / 2
    return Bar(
        symbol=slot.symbol,
        bar_ms=slot.bar_ms,
        close_ms=slot.bar_close_ms,
        open=mid,
        high=mid,
        low=mid,
        close=mid,
        spread=quote.ask - quote.bid,
        ticks=1,
    )
