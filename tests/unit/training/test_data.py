"""Samples come from the running system's bars, in parts that share nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from models.errors import BadValue
from models.market import Bar, Tick
from models.task import WINDOW
from signals.features import tensors_of
from signals.windows import RollingWindow
from tests.unit.training.synthetic import PLAN, START_MS
from training.data import bars_of, read_ticks, samples_of, tick_files
from training.measure import Yardstick
from training.plan import Plan, load_plan
from training.source import TickFiles


@dataclass(frozen=True)
class Recorded:
    """Bars whose closes lie between these seconds of the day, session by session; the price moves, but for
    one instrument that keeps still.
    """

    seconds: Sequence[tuple[int, int]]
    still: str = ""

    def sessions(self, symbol: str, bar_ms: int) -> Iterator[list[Bar]]:
        """The same for every symbol."""
        for first, end in self.seconds:
            closes = range(START_MS + first * 1000, START_MS + end * 1000, bar_ms)
            yield [self._bar(symbol, bar_ms, close_ms) for close_ms in closes]

    def until(self, symbols: Sequence[str], bar_ms: int) -> datetime:
        """The plan says it."""
        raise NotImplementedError

    def provenance(self, symbols: Sequence[str]) -> dict[str, str]:
        """Nothing to tell."""
        return {}

    def _bar(self, symbol: str, bar_ms: int, close_ms: int) -> Bar:
        price = 1.0 if symbol == self.still else 1.0 + close_ms % 7_001 / 1e7
        return Bar(symbol, bar_ms, close_ms, price, price, price, price, 1e-4, 1)


def test_samples_are_the_windows_of_the_live_path(ticks: Path) -> None:
    """Inputs equal bit for bit what a live window gives; the outcome is the return that followed."""
    (bars,) = bars_of(read_ticks(tick_files(ticks, "EURUSD"), "EURUSD"), "EURUSD", PLAN.bar_ms)
    samples = samples_of(bars, PLAN.horizon_bars)
    index, live = 100, RollingWindow()
    for bar in bars[: WINDOW + 1 + index]:
        live.add(bar)

    window = live.window()

    assert window is not None
    returns, context = tensors_of([window])
    assert samples.close_ms[index] == window.close_ms
    assert samples.window[index].tobytes() == returns[0].tobytes()
    assert samples.context[index].tobytes() == context[0].tobytes()
    now, then = bars[WINDOW + index], bars[WINDOW + index + PLAN.horizon_bars]
    assert samples.outcome[index] == math.log(then.close / now.close)
    assert len(samples) == len(bars) - WINDOW - PLAN.horizon_bars


def test_no_window_reaches_over_a_closed_market(tmp_path: Path) -> None:
    """After an hour without a tick bars begin anew."""
    times = [*range(0, 400_000, 500), *range(10_000_000, 10_400_000, 500)]
    ticks = (Tick("EURUSD", ts, 1.0, 1.1, 1, "s", 0) for ts in times)

    sessions = list(bars_of(ticks, "EURUSD", 1000))

    assert [len(bars) for bars in sessions] == [399, 399]
    assert sessions[1][0].close_ms == 10_001_000


def test_the_parts_share_no_bar(yardstick: Yardstick) -> None:
    """The last outcome of a part is known before the first bar of the next part's windows."""
    parts = (yardstick.parts.train, yardstick.parts.calibration, yardstick.parts.test)

    assert all(len(part) > 500 for part in parts)
    for earlier, later in ((parts[0], parts[1]), (parts[1], parts[2])):
        last_seen = earlier.close_ms.max() + PLAN.horizon_ms
        first_seen = later.close_ms.min() - WINDOW * PLAN.bar_ms
        assert last_seen <= first_seen


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"calibration": {"start": "2014-05-02T00:24:00Z", "end": "2014-05-02T00:33:00Z"}},
            "at least 0:04:19",
        ),
        ({"horizon_ms": 2500}, "multiple of bar_ms"),
    ],
)
def test_a_plan_whose_parts_share_a_bar_is_refused(changes: dict[str, object], message: str) -> None:
    """The embargo is one window plus one horizon."""
    with pytest.raises(ValidationError, match=message):
        Plan.model_validate(PLAN.model_dump() | changes)


def test_the_demos_ticks_lie_in_the_test_part() -> None:
    """No shipped model was trained or calibrated on what the demo plays."""
    plan = load_plan()

    demo_start_ms = 1_398_988_800_000 + int(11.5 * 3_600_000)
    assert plan.calibration.end_ms + plan.horizon_ms <= demo_start_ms
    assert plan.test.start_ms == demo_start_ms


def test_missing_ticks_are_named(tmp_path: Path) -> None:
    """The error says what was looked for and where."""
    with pytest.raises(FileNotFoundError, match=r"gbpusd_ticks_\*\.csv\.gz"):
        list(TickFiles(tmp_path).sessions("GBPUSD", PLAN.bar_ms))


@pytest.mark.parametrize(
    ("sessions", "said"),
    [
        ([], "the train part, 2014-05-02 00:05 to 2014-05-02 00:20 UTC, has no window: .* 0 of the 0 bars"),
        ([(0, 20 * 60)], "the calibration part, .* has no window: .* 0 of the 2,400 bars"),
        ([(0, 36 * 60)], "the test part, .* no window of EURUSD or NZDUSD .* 0 of the 4,320 bars"),
        ([(20 * 60, 50 * 60)], "the train part, .* 0 of the 3,600 bars"),
        (
            [(first, first + 259) for first in range(0, 50 * 60, 260)],
            "takes 260 bars in a row, and 1,794 of ",
        ),
    ],
)
def test_a_part_without_a_window_is_named(sessions: list[tuple[int, int]], said: str) -> None:
    """Where bars end too early, begin too late, or have a hole before every window is full: with how many
    there are, how many it takes, and what to do.
    """
    with pytest.raises(BadValue, match=f"{said}.*Play for longer, or choose a shorter span"):
        Yardstick(PLAN, Recorded(sessions))


def test_an_instrument_whose_price_never_moved_cannot_be_tested() -> None:
    """Of its direction nothing can be said; the one that did move is not named."""
    with pytest.raises(BadValue, match=r"the test part, .* no window of NZDUSD after which the price moved"):
        Yardstick(PLAN, Recorded([(0, 50 * 60)], still="NZDUSD"))


def test_a_stride_keeps_every_nth_window(ticks: Path, yardstick: Yardstick) -> None:
    """A quick run sees fewer windows of the same parts."""
    quick = Yardstick(PLAN, TickFiles(ticks), stride=8)

    assert len(quick.parts.test) == pytest.approx(len(yardstick.parts.test) / 8, abs=2)
    assert np.isin(quick.parts.test.close_ms, yardstick.parts.test.close_ms).all()
