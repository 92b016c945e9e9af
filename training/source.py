"""Where bars come from: tick files in a directory, or what a hub recorded while it ran."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from models.market import Bar
from training.data import bars_of, digest_of, last_tick, read_ticks, tick_files


class Source(Protocol):
    """Bars of market sessions, and where they are from."""

    def sessions(self, symbol: str, bar_ms: int) -> Iterator[list[Bar]]:
        """Bars without a hole, session by session."""
        ...

    def until(self, symbols: Sequence[str], bar_ms: int) -> datetime:
        """Until when there are bars of every symbol."""
        ...

    def provenance(self, symbols: Sequence[str]) -> dict[str, str]:
        """For the card."""
        ...


@dataclass(frozen=True, slots=True)
class TickFiles:
    """A directory of `<symbol>_ticks_*.csv.gz`."""

    directory: Path

    def sessions(self, symbol: str, bar_ms: int) -> Iterator[list[Bar]]:
        yield from bars_of(read_ticks(tick_files(self.directory, symbol), symbol), symbol, bar_ms)

    def until(self, symbols: Sequence[str], bar_ms: int) -> datetime:  # noqa: ARG002 - ticks end where they end
        return last_tick(self.directory, symbols)

    def provenance(self, symbols: Sequence[str]) -> dict[str, str]:
        files = [file for symbol in symbols for file in tick_files(self.directory, symbol)]
        return {"data": ", ".join(file.name for file in files), "data_sha256": digest_of(files)}
