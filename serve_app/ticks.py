"""Tick files: `ts_ms,bid,ask`, gzipped CSV, read whole and checked before anything is started."""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.errors import BadValue
from models.ids import checked_symbol
from signals.due import TickSpan

_HEADER: Final = ["ts_ms", "bid", "ask"]


@dataclass(frozen=True, slots=True)
class Quote:
    """One row of a tick file."""

    ts_ms: int
    bid: float
    ask: float


@dataclass(frozen=True, slots=True)
class TickFile:
    """All quotes of one symbol in market time order."""

    symbol: str
    quotes: tuple[Quote, ...]

    @property
    def span(self) -> TickSpan:
        return TickSpan(self.quotes[0].ts_ms, self.quotes[-1].ts_ms)


def tick_option(text: str) -> tuple[str, Path]:
    """Symbol and path of `SYMBOL=FILE`; BadValue says what is wrong with it."""
    symbol, equals, path = text.partition("=")
    if not equals or not path:
        raise BadValue(
            f"--ticks was {text!r}; expected SYMBOL=FILE, for example EURUSD=ticks.csv.gz", field="ticks"
        )
    return checked_symbol(symbol), Path(path)


def load_ticks(options: Iterable[tuple[str, Path]]) -> dict[str, TickFile]:
    """Tick files by symbol; several files of one symbol follow each other in the order given."""
    quotes: dict[str, list[Quote]] = {}
    for symbol, path in options:
        known = quotes.setdefault(symbol, [])
        known.extend(_read(path, after_ms=known[-1].ts_ms if known else 0))
    return {symbol: TickFile(symbol, tuple(rows)) for symbol, rows in quotes.items()}


def _read(path: Path, *, after_ms: int) -> list[Quote]:
    if not path.is_file():
        raise BadValue(f"tick file {path} does not exist", field="ticks")
    try:
        with gzip.open(path, "rt", newline="") as lines:
            rows = list(_parsed(path, lines, after_ms))
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise BadValue(f"tick file {path} is not gzipped CSV: {error}", field="ticks") from error
    if not rows:
        raise BadValue(f"tick file {path} holds no ticks", field="ticks")
    return rows


def _parsed(path: Path, lines: Iterable[str], after_ms: int) -> Iterator[Quote]:
    reader = csv.reader(lines)
    if next(reader, None) != _HEADER:
        raise BadValue(f"tick file {path} must begin with the header {','.join(_HEADER)}", field="ticks")
    for number, row in enumerate(reader, start=2):
        quote = _quote(path, number, row)
        if quote.ts_ms < after_ms:
            raise BadValue(
                f"tick file {path}, line {number}: goes back in time to {quote.ts_ms}", field="ticks"
            )
        after_ms = quote.ts_ms
        yield quote


def _quote(path: Path, number: int, row: list[str]) -> Quote:
    try:
        ts_ms, bid, ask = int(row[0]), float(row[1]), float(row[2])
    except (ValueError, IndexError) as error:
        raise BadValue(f"tick file {path}, line {number}: {error}", field="ticks") from error
    if not 0 < bid <= ask < math.inf:
        raise BadValue(
            f"tick file {path}, line {number}: bid {bid} and ask {ask} are no quote", field="ticks"
        )
    return Quote(ts_ms, bid, ask)
