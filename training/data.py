"""Tick files to training samples, through the running system's own bars, windows and context."""

from __future__ import annotations

import csv
import gzip
import hashlib
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from models.market import Bar, Tick
from models.task import CONTEXT_FEATURES, WINDOW
from signals.bars import BarBuilder
from signals.features import tensors_of
from signals.windows import RollingWindow, Window
from training.plan import Part, Plan

_BREAK_MS: Final = 3_600_000
"""An hour without a tick is a closed market: bars and windows begin anew."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Windows with what came after: `outcome` float64[n] is the log return over the horizon."""

    instrument: NDArray[np.str_]
    close_ms: NDArray[np.int64]
    window: NDArray[np.float32]
    context: NDArray[np.float32]
    outcome: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.outcome)

    def where(self, chosen: NDArray[np.bool_]) -> Samples:
        """The chosen rows, in order."""
        return Samples(
            self.instrument[chosen],
            self.close_ms[chosen],
            self.window[chosen],
            self.context[chosen],
            self.outcome[chosen],
        )

    def during(self, part: Part) -> Samples:
        """The windows that close in a part."""
        return self.where((self.close_ms >= part.start_ms) & (self.close_ms < part.end_ms))

    @classmethod
    def joined(cls, parts: Sequence[Samples]) -> Self:
        """All rows of all parts, part after part; of no parts there are no rows."""
        parts = parts or [_NONE]
        return cls(
            np.concatenate([part.instrument for part in parts]),
            np.concatenate([part.close_ms for part in parts]),
            np.concatenate([part.window for part in parts]),
            np.concatenate([part.context for part in parts]),
            np.concatenate([part.outcome for part in parts]),
        )


_NONE: Final = Samples(
    instrument=np.empty(0, np.str_),
    close_ms=np.empty(0, np.int64),
    window=np.empty((0, WINDOW), np.float32),
    context=np.empty((0, len(CONTEXT_FEATURES)), np.float32),
    outcome=np.empty(0),
)


def tick_files(directory: Path, symbol: str) -> list[Path]:
    """The symbol's tick files by date; an error says what was looked for."""
    pattern = f"{symbol.lower()}_ticks_*.csv.gz"
    files = sorted(directory.glob(pattern))
    if not files:
        raise FileNotFoundError(f"no {pattern} in {directory}: name the directory with --data")
    return files


def last_tick(directory: Path, symbols: Sequence[str]) -> datetime:
    """Until when there are ticks of every symbol."""
    newest = [tick_files(directory, symbol)[-1] for symbol in symbols]
    return datetime.fromtimestamp(min(map(_last_ms, newest)) / 1000, UTC)


def _last_ms(file: Path) -> int:
    with gzip.open(file, "rt", encoding="ascii") as text:
        (line,) = deque(text, maxlen=1)
    return int(line.split(",")[0])


def digest_of(files: Sequence[Path]) -> str:
    """One sha256 over the contents of all files, in order."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def read_ticks(files: Sequence[Path], symbol: str) -> Iterator[Tick]:
    """Ticks of gzipped CSV files with header `ts_ms,bid,ask`."""
    seq = 0
    for file in files:
        with gzip.open(file, "rt", encoding="ascii", newline="") as text:
            for row in csv.DictReader(text):
                seq += 1
                yield Tick(symbol, int(row["ts_ms"]), float(row["bid"]), float(row["ask"]), seq, "file", 0)


def bars_of(ticks: Iterator[Tick], symbol: str, bar_ms: int) -> Iterator[list[Bar]]:
    """Bars of each market session; the last bar of a session is the last that its ticks fill."""
    builder, newest_ms = BarBuilder(symbol, bar_ms), 0
    for tick in ticks:
        if newest_ms and tick.ts_ms - newest_ms > _BREAK_MS:
            yield builder.close_until(newest_ms)
            builder = BarBuilder(symbol, bar_ms)
        builder.add(tick)
        newest_ms = tick.ts_ms
    yield builder.close_until(newest_ms)


def samples_of(bars: Sequence[Bar], horizon_bars: int) -> Samples:
    """Every window of a session whose outcome is in the session, too."""
    rolling, windows = RollingWindow(), list[Window]()
    for bar in bars:
        rolling.add(bar)
        if window := rolling.window():
            windows.append(window)
    windows = windows[: len(windows) - horizon_bars]
    first = len(bars) - horizon_bars - len(windows)
    closes = [bar.close for bar in bars]
    outcome = [math.log(closes[i + horizon_bars] / closes[i]) for i in range(first, first + len(windows))]
    returns, context = tensors_of(windows)
    return Samples(
        instrument=np.array([item.symbol for item in windows]),
        close_ms=np.array([item.close_ms for item in windows]),
        window=returns,
        context=context,
        outcome=np.array(outcome),
    )


def samples_in(sessions: Iterable[Sequence[Bar]], plan: Plan) -> Samples:
    """All samples of a symbol's sessions; one too short for a window and its outcome has none."""
    needed = WINDOW + 1 + plan.horizon_bars
    return Samples.joined([samples_of(bars, plan.horizon_bars) for bars in sessions if len(bars) >= needed])
