"""Playback sends ticks and clock in market time order; history is what the live hub would have built."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import pytest

from models.errors import BadValue
from models.market import Bar, MarketClock, Tick
from models.task import WINDOW
from serve_app.playback import Plan, Progress, history, play, seed_history
from serve_app.ticks import Quote, TickFile

BAR = 10_000
MINUTE = 60_000


def _file(symbol: str, first_ms: int, count: int, step_ms: int = 2_000) -> TickFile:
    return TickFile(symbol, tuple(Quote(first_ms + i * step_ms, 1.1, 1.2) for i in range(count)))


class Recorder:
    """A feed that keeps what it was given, in order."""

    def __init__(self) -> None:
        self.sent: list[Tick | MarketClock] = []
        self.stored: list[Bar] = []

    async def publish_tick(self, tick: Tick) -> None:
        self.sent.append(tick)

    async def publish_clock(self, clock: MarketClock) -> None:
        self.sent.append(clock)

    async def put_bar(self, bar: Bar, *, after: int | None) -> int:
        self.stored.append(bar)
        return len(self.stored)

    def follow(self, symbols: Sequence[str], *, since_ms: int | None) -> AsyncIterator[Tick | MarketClock]:
        raise AssertionError

    async def bars(self, symbol: str, bar_ms: int, *, limit: int) -> tuple[list[Bar], int]:
        raise AssertionError

    async def publish(self, subject: str, payload: bytes) -> None:
        raise AssertionError

    async def ping(self, *, timeout_s: float) -> None:
        raise AssertionError

    async def close(self) -> None:
        raise AssertionError


FILES = {"EURUSD": _file("EURUSD", 5_000, 2_000), "NZDUSD": _file("NZDUSD", 65_000, 2_000)}


def _plan(seconds: float = 1.0, speed: float = 60.0) -> Plan:
    spans = {symbol: file.span for symbol, file in FILES.items()}
    return Plan.of(spans, bar_sizes=[BAR], seconds=seconds, speed=speed)


def test_playback_starts_where_the_latest_symbol_has_its_window() -> None:
    """One start for all symbols: 256 returns after the first close of the one that begins last."""
    assert _plan().start_ms == 70_000 + WINDOW * BAR
    assert _plan().end_ms == _plan().start_ms + MINUTE


def test_clock_reaches_every_bar_close_and_only_grows() -> None:
    """Whatever the speed, each close is named exactly."""
    plan = _plan(seconds=10, speed=7.3)
    times = list(plan.clock_times())

    assert all(before < after for before, after in pairwise(times))
    assert set(range(plan.start_ms, plan.end_ms + 1, BAR)) <= set(times)
    assert times[-1] == plan.end_ms


def test_history_fills_each_window_up_to_the_start() -> None:
    """257 closes give 256 returns, and no bar of the playback is among them."""
    plan = _plan()
    feed = Recorder()

    asyncio.run(seed_history(feed, history(FILES, plan), keep=WINDOW + 1))

    for symbol in FILES:
        closes = [bar.close_ms for bar in feed.stored if bar.symbol == symbol]
        assert closes == list(range(plan.start_ms - WINDOW * BAR, plan.start_ms + 1, BAR))


def test_ticks_go_out_in_order_with_gapless_sequences() -> None:
    """Market time never goes back, and the clock names the last sequence sent before it."""
    plan, feed, progress = _plan(seconds=0.05, speed=1_000), Recorder(), Progress()

    asyncio.run(play(feed, FILES, plan, session="s", clock=lambda: 7, progress=progress))

    last = dict.fromkeys(FILES, 0)
    now_ms = 0
    for item in feed.sent:
        moment = item.ts_ms if isinstance(item, Tick) else item.now_ms
        assert moment >= now_ms
        now_ms = moment
        if isinstance(item, Tick):
            last[item.symbol] += 1
            assert item.seq == last[item.symbol]
        else:
            assert item.sequences == last
    assert progress.ticks == sum(last.values()) > 0
    assert isinstance(feed.sent[-1], MarketClock)


def test_file_without_overlap_is_refused_by_name() -> None:
    """A symbol whose ticks end before the common start cannot be played."""
    spans = {"EURUSD": _file("EURUSD", 0, 10).span, "NZDUSD": FILES["NZDUSD"].span}

    with pytest.raises(BadValue, match="EURUSD"):
        Plan.of(spans, bar_sizes=[BAR], seconds=1, speed=60)
