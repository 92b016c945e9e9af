"""Playback: recorded ticks on a market clock that runs `speed` times as fast as the wall clock.

The beginning of the files becomes bars (the history of the windows); from there on ticks and the market clock
go out on NATS in order, so that a bar closes by the clock whether or not a tick fell in it.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import Final, Protocol

from messaging.ports import MarketFeed
from models.market import Bar, MarketClock, Tick
from serve_app.ticks import Quote, TickFile
from signals.bars import BarBuilder
from signals.due import TickSpan, history_end, playback_end

_CLOCK_EVERY_S: Final = 0.05


class Outlet(Protocol):
    """The part of a `MarketFeed` that a playback speaks to."""

    async def publish_tick(self, tick: Tick) -> None: ...

    async def publish_clock(self, clock: MarketClock) -> None: ...


@dataclass(frozen=True, slots=True)
class Plan:
    """From when to when market time is played, and at which bar sizes bars are owed."""

    start_ms: int
    end_ms: int
    bar_sizes: tuple[int, ...]
    speed: float

    @classmethod
    def of(
        cls, spans: Mapping[str, TickSpan], *, bar_sizes: Iterable[int], seconds: float, speed: float
    ) -> Plan:
        """Play `seconds` of wall time, or as far as the files go; BadValue if one cannot fill its windows."""
        sizes = tuple(sorted(set(bar_sizes)))
        start_ms = history_end(spans, sizes)
        end_ms = playback_end(spans, start_ms, int(seconds * speed * 1000))
        return cls(start_ms, end_ms, sizes, speed)

    @property
    def seconds(self) -> float:
        """Wall time the playback takes."""
        return (self.end_ms - self.start_ms) / 1000 / self.speed

    def clock_times(self) -> Iterator[int]:
        """Market times at which the clock is sent: every bar close, and every 50 ms of wall time."""
        step = max(1, int(_CLOCK_EVERY_S * 1000 * self.speed))
        ticking = range(self.start_ms, self.end_ms, step)
        closes = [range(-(-self.start_ms // size) * size, self.end_ms + 1, size) for size in self.bar_sizes]
        last = None
        for now_ms in merge(ticking, *closes, [self.end_ms]):
            if now_ms != last:
                yield (last := now_ms)


@dataclass(slots=True)
class Progress:
    """How far a playback is."""

    ticks: int = 0
    now_ms: int = 0
    sequences: dict[str, int] = field(default_factory=dict)


def history(files: Mapping[str, TickFile], plan: Plan) -> Iterator[Bar]:
    """The bars before the start, as the running system would have built them."""
    for symbol, file in sorted(files.items()):
        for bar_ms in plan.bar_sizes:
            builder = BarBuilder(symbol, bar_ms)
            for quote in file.quotes[: bisect_left(file.quotes, plan.start_ms, key=attrgetter("ts_ms"))]:
                builder.add(Tick(symbol, quote.ts_ms, quote.bid, quote.ask, 0, "history", 0))
            yield from builder.close_until(plan.start_ms)


async def seed_history(feed: MarketFeed, bars: Iterable[Bar], *, keep: int) -> int:
    """Store the last `keep` bars of each (symbol, bar size); how many were stored."""
    series: dict[tuple[str, int], list[Bar]] = {}
    for bar in bars:
        series.setdefault((bar.symbol, bar.bar_ms), []).append(bar)
    for stored in series.values():
        for bar in stored[-keep:]:
            await feed.put_bar(bar, after=None)
    return sum(len(stored[-keep:]) for stored in series.values())


async def play(
    feed: Outlet,
    files: Mapping[str, TickFile],
    plan: Plan,
    *,
    session: str,
    clock: Callable[[], int],
    progress: Progress,
) -> None:
    """Send ticks and clock in market time order, at the plan's speed. Lateness is caught up."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    pending = merge(
        *(_quotes(file, plan.start_ms) for file in files.values()), key=lambda item: item[2].ts_ms
    )
    upcoming = next(pending, None)
    progress.sequences = dict.fromkeys(files, 0)
    for now_ms in plan.clock_times():
        await asyncio.sleep(began + (now_ms - plan.start_ms) / 1000 / plan.speed - loop.time())
        while upcoming is not None and upcoming[2].ts_ms <= now_ms:
            symbol, seq, quote = upcoming
            await feed.publish_tick(Tick(symbol, quote.ts_ms, quote.bid, quote.ask, seq, session, clock()))
            progress.sequences[symbol] = seq
            progress.ticks += 1
            upcoming = next(pending, None)
        await feed.publish_clock(MarketClock(now_ms, session, clock(), dict(progress.sequences)))
        progress.now_ms = now_ms


def _quotes(file: TickFile, from_ms: int) -> Iterator[tuple[str, int, Quote]]:
    """(symbol, sequence from 1, quote) of everything from `from_ms` on."""
    first = bisect_left(file.quotes, from_ms, key=attrgetter("ts_ms"))
    for seq, quote in enumerate(islice(file.quotes, first, None), start=1):
        yield file.symbol, seq, quote
