"""Due slots: one arithmetic for feeder, forecaster and the independent reader."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import BadValue
from models.task import WINDOW
from signals.due import TickSpan, due_closes, history_end, playback_end

BAR_MS = 10_000


def test_closes_lie_after_the_start_and_include_the_end() -> None:
    """History's own last bar is not due; a bar that closes at the end is."""
    assert list(due_closes(10_000, 30_000, BAR_MS)) == [20_000, 30_000]
    assert list(due_closes(10_001, 29_999, BAR_MS)) == [20_000]
    assert list(due_closes(10_000, 19_999, BAR_MS)) == []


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from([1000, 7000, 10_000]))
def test_closes_agree_with_a_scan(start_ms: int, length_ms: int, bar_ms: int) -> None:
    """Exactly the multiples of the bar in (start, end]."""
    end_ms = start_ms + length_ms
    first = start_ms // 1000 * 1000

    scanned = [ms for ms in range(first, end_ms + 1, 1000) if start_ms < ms and ms % bar_ms == 0]
    assert scanned == list(due_closes(start_ms, end_ms, bar_ms))


def test_history_ends_when_the_last_symbol_has_its_windows() -> None:
    """One market time for all symbols; the slowest bar size and the latest first tick decide."""
    late = 125_000
    spans = {"EURUSD": TickSpan(5_000, 10**8), "NZDUSD": TickSpan(late, 10**8)}

    assert history_end(spans, [BAR_MS]) == 130_000 + WINDOW * BAR_MS
    assert history_end(spans, [BAR_MS, 60_000]) == 180_000 + WINDOW * 60_000


def test_a_file_shorter_than_its_windows_is_refused_with_the_length_needed() -> None:
    """The error names the symbol and how many seconds are needed."""
    needed_s = (10_000 + WINDOW * BAR_MS + BAR_MS) // 1000
    spans = {"EURUSD": TickSpan(0, 10**8), "NZDUSD": TickSpan(0, 1000 * needed_s - 1)}

    with pytest.raises(BadValue, match=f"NZDUSD span 2579 s.*at least {needed_s} s"):
        history_end(spans, [BAR_MS])
    spans["NZDUSD"] = TickSpan(0, 1000 * needed_s)
    assert due_closes(history_end(spans, [BAR_MS]), 1000 * needed_s, BAR_MS)


def test_playback_ends_with_the_shortest_file() -> None:
    """As long as asked for, but no farther than every symbol has ticks."""
    spans = {"EURUSD": TickSpan(0, 9_000_000), "NZDUSD": TickSpan(0, 8_000_000)}

    assert playback_end(spans, 4_000_000, 3_000_000) == 7_000_000
    assert playback_end(spans, 4_000_000, 30_000_000) == 8_000_000
