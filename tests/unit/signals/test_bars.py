"""Bars: by the clock, never by the next tick, and the same after a rebuild."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.market import Bar, Tick
from signals.bars import BarBuilder, first_close

BAR_MS = 10_000


def tick(ts_ms: int, mid: float = 1.0, spread: float = 0.0002) -> Tick:
    """A quote around `mid`."""
    return Tick("EURUSD", ts_ms, mid - spread / 2, mid + spread / 2, seq=1, session="s", sent_ns=0)


def bars_of(ticks: list[Tick], until_ms: int) -> list[Bar]:
    """Bars of the ticks, closed by one reading of the clock."""
    builder = BarBuilder("EURUSD", BAR_MS)
    for item in ticks:
        builder.add(item)
    return builder.close_until(until_ms)


def test_a_bar_holds_the_mids_of_its_ticks() -> None:
    """Open, high, low and close are mids; the spread is that of the last tick."""
    bars = bars_of([tick(1_000, 1.1), tick(2_000, 1.3), tick(3_000, 1.0), tick(9_999, 1.2, 0.0004)], BAR_MS)

    (bar,) = bars
    assert (bar.open, bar.high, bar.low, bar.close) == pytest.approx((1.1, 1.3, 1.0, 1.2))
    assert bar.spread == pytest.approx(0.0004)
    assert (bar.ticks, bar.close_ms) == (4, BAR_MS)


def test_the_next_tick_closes_nothing() -> None:
    """Only the market clock closes a bar, even if ticks of later bars are already there."""
    builder = BarBuilder("EURUSD", BAR_MS)
    builder.add(tick(1_000))
    builder.add(tick(35_000))

    assert builder.close_until(BAR_MS - 1) == []
    assert [bar.close_ms for bar in builder.close_until(BAR_MS)] == [10_000]


def test_a_tick_at_a_boundary_belongs_to_the_next_bar() -> None:
    """A bar covers [close - bar_ms, close)."""
    bars = bars_of([tick(9_999, 1.0), tick(10_000, 2.0)], 20_000)

    assert [(bar.close, bar.ticks) for bar in bars] == [(1.0, 1), (2.0, 1)]


def test_an_empty_bar_repeats_the_last_mid_and_spread() -> None:
    """Bars without ticks are still owed."""
    bars = bars_of([tick(1_000, 1.5), tick(31_000, 1.6)], 40_000)

    assert [bar.ticks for bar in bars] == [1, 0, 0, 1]
    assert [bar.close for bar in bars] == pytest.approx([1.5, 1.5, 1.5, 1.6])
    assert bars[0].spread == bars[1].spread
    assert bars[1].open == bars[1].high == bars[1].low == bars[1].close == bars[0].close


def test_nothing_is_owed_before_the_first_tick() -> None:
    """The first bar is that of the first tick."""
    assert BarBuilder("EURUSD", BAR_MS).close_until(10**12) == []
    assert [bar.close_ms for bar in bars_of([tick(55_000)], 60_000)] == [60_000]


def test_a_tick_that_goes_back_in_time_is_refused_and_counted() -> None:
    """It changes no bar, whether its bar is open or closed; an equal time is no step back."""
    builder = BarBuilder("EURUSD", BAR_MS)

    assert builder.add(tick(5_000, 1.0))
    assert builder.add(tick(5_000, 1.1))
    assert not builder.add(tick(4_999, 9.0))
    (bar,) = builder.close_until(10_000)
    assert not builder.add(tick(9_999, 9.0))
    assert (builder.refused, bar.ticks) == (2, 2)
    assert bar.high < 9.0


@pytest.mark.parametrize(
    ("bid", "ask"), [(0.0, 1.0), (-1.0, 1.0), (1.1, 1.0), (math.nan, 1.0), (1.0, math.nan), (1.0, math.inf)]
)
def test_a_tick_without_a_valid_quote_is_refused(bid: float, ask: float) -> None:
    """Not positive, crossed or not finite: no bar sees it."""
    builder = BarBuilder("EURUSD", BAR_MS)

    assert not builder.add(Tick("EURUSD", 1_000, bid, ask, 1, "s", 0))
    assert builder.refused == 1
    assert builder.close_until(10_000) == []


def test_a_builder_rebuilt_from_a_bar_refuses_the_ticks_that_bar_holds() -> None:
    """Feeding the stored ticks again from any point gives the bars after the stored one."""
    ticks = [tick(1_000, 1.0), tick(12_000, 1.1), tick(31_000, 1.2)]
    straight = bars_of(ticks, 40_000)

    rebuilt = BarBuilder.after(straight[1])
    for item in ticks:
        rebuilt.add(item)

    assert straight[2:] == rebuilt.close_until(40_000)
    assert rebuilt.refused == 2


TIMES = st.lists(st.integers(0, 120_000), min_size=1, max_size=40).map(sorted)


@given(times=TIMES, clocks=st.lists(st.integers(0, 130_000), max_size=10).map(sorted))
def test_bars_do_not_depend_on_when_the_clock_is_read(times: list[int], clocks: list[int]) -> None:
    """Any clock readings that lie between the ticks give the bars of one reading at the end."""
    ticks = [tick(ts, 1 + index / 1000) for index, ts in enumerate(times)]
    builder = BarBuilder("EURUSD", BAR_MS)
    bars = []
    waiting = list(ticks)
    for now_ms in [*clocks, 130_000]:
        while waiting and waiting[0].ts_ms <= now_ms:
            builder.add(waiting.pop(0))
        bars += builder.close_until(now_ms)

    assert bars_of(ticks, 130_000) == bars
    assert builder.refused == 0


@given(times=TIMES)
def test_bars_agree_with_a_grouping_by_hand(times: list[int]) -> None:
    """Every boundary from the first tick on has one bar, holding exactly the ticks before it."""
    bars = bars_of([tick(ts) for ts in times], 130_000)

    assert list(range(first_close(times[0], BAR_MS), 130_001, BAR_MS)) == [bar.close_ms for bar in bars]
    for bar in bars:
        assert sum(bar.close_ms - BAR_MS <= ts < bar.close_ms for ts in times) == bar.ticks
