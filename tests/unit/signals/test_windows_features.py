"""Windows and context: live and training paths are one, to the last bit."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from numpy.typing import NDArray

from models.market import Bar, Tick
from models.task import CONTEXT_FEATURES, WINDOW
from signals.bars import BarBuilder
from signals.features import context_of, tensors_of
from signals.windows import RollingWindow, Window, log_return

BAR_MS = 10_000


def bar(index: int, close: float, ticks: int = 1) -> Bar:
    """A bar that closes at `index` times the bar size."""
    return Bar("EURUSD", BAR_MS, index * BAR_MS, close, close, close, close, 0.0002, ticks)


def walk(bars: int, seed: int = 1) -> list[Bar]:
    """Bars of a seeded random walk."""
    rng = random.Random(seed)
    mids = [1.3]
    for _ in range(bars):
        mids.append(mids[-1] * math.exp(rng.gauss(0, 5e-5)))
    return [bar(index, mid) for index, mid in enumerate(mids)]


def column(context: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """A context column by its name."""
    return context[:, CONTEXT_FEATURES.index(name)]


def test_a_window_needs_one_bar_more_than_its_returns() -> None:
    """256 returns lie between 257 bars."""
    window = RollingWindow()
    bars = walk(WINDOW)

    for item in bars[:-1]:
        window.add(item)
    assert window.window() is None
    window.add(bars[-1])
    made = window.window()
    assert made is not None
    assert made.returns.shape == (WINDOW,)
    assert made.returns.dtype == np.float32
    assert np.float32(log_return(bars[-2].close, bars[-1].close)) == made.returns[-1]
    assert np.float32(log_return(bars[0].close, bars[1].close)) == made.returns[0]
    assert pytest.approx(0.0002 / bars[-1].close) == made.spread


def test_an_old_bar_is_ignored_and_a_hole_empties_the_window() -> None:
    """Returns across a hole would be wrong; feeding the bars again fills the window."""
    window = RollingWindow()
    bars = walk(2 * WINDOW + 1)
    for item in bars[: WINDOW + 1]:
        window.add(item)

    assert not window.add(bars[3])
    assert window.window() is not None
    assert window.add(bars[WINDOW + 2])
    assert window.window() is None
    for item in bars[WINDOW + 3 :]:
        window.add(item)
    assert window.window() is None


def test_context_formulas() -> None:
    """Each column agrees with its formula written out by hand."""
    returns = np.random.default_rng(3).normal(0, 1e-4, (1, WINDOW)).astype(np.float32)
    six_utc = np.array([86_400_000 * 16_000 + 6 * 3_600_000])

    context = context_of(returns, np.array([8e-5]), six_utc)

    exact = returns[0].astype(float)
    short = math.sqrt(float(np.mean(exact[-32:] ** 2)))
    long = math.sqrt(float(np.mean(exact**2)))
    expected = [1.0, 0.0, 8e-5, short, long, short / long]
    expected += [exact[-32:].sum() / (short * math.sqrt(32)), exact.sum() / (long * 16)]
    assert (1, len(CONTEXT_FEATURES)) == context.shape
    assert expected == pytest.approx(context[0], rel=1e-5, abs=1e-6)


def test_a_flat_market_has_finite_context() -> None:
    """256 bars without a move divide by the least volatility, not by zero."""
    flat = np.zeros((2, WINDOW), dtype=np.float32)

    context = context_of(flat, np.zeros(2), np.array([0, BAR_MS]))

    assert np.isfinite(context).all()
    assert list(column(context, "momentum_long")) == [0, 0]


def test_live_and_training_inputs_are_equal_bit_for_bit() -> None:
    """One window at a time as ticks arrive, or all at once from stored bars: the same bytes."""
    rng = random.Random(7)
    builder, live = BarBuilder("EURUSD", BAR_MS), RollingWindow()
    bars: list[Bar] = []
    made: list[Window] = []
    ts_ms, mid = 0, 1.38
    while len(bars) < 700:
        ts_ms += rng.randrange(1, 9_000)
        mid = round(mid * math.exp(rng.gauss(0, 4e-5)), 5)
        for closed in builder.close_until(ts_ms - 1):
            bars.append(closed)
            live.add(closed)
            window = live.window()
            made += [window] if window else []
        builder.add(Tick("EURUSD", ts_ms, mid - 5e-5, mid + 6e-5, len(bars), "s", 0))

    batch = tensors_of(made)
    singles = [tensors_of([window]) for window in made]

    assert len(made) > 400
    for index, single in enumerate(singles):
        assert batch[0][index].tobytes() == single[0][0].tobytes()
        assert batch[1][index].tobytes() == single[1][0].tobytes()
