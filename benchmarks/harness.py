"""What every benchmark has in common: figures, the machine they hold for, and when a run proves nothing.

A ratio is only worth something beside the spread of the peer against itself (`aa_spread`), and a run only if
the driver itself was not held up: its own lag stays under 5 ms at p99 and nobody took the processor away.
"""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

LAG_P99_MS: Final = 5.0
STOLEN_SHARE: Final = 0.05
_PAUSE_S: Final = 0.001
_LOOK_S: Final = 0.005
"""An event loop is looked at so often: who looks a thousand times a second takes part of what is measured."""
_STEAL: Final = 7


class VoidRunError(Exception):
    """The run proves nothing, and why."""


class Validity:
    """Watches the driver and the machine during one run."""

    def __init__(self) -> None:
        self._lags_ms: list[float] = []
        self._before = _cpu_times()

    def pause(self) -> None:
        """Sleep a millisecond between two pieces of work, and note how much longer it took."""
        begun = time.perf_counter()
        time.sleep(_PAUSE_S)
        self._note(begun, _PAUSE_S)

    async def watch_loop(self) -> None:
        """The same for a driver that is an event loop: run as a task, cancel at the end."""
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(_LOOK_S)
            self._note(begun, _LOOK_S)

    def heard(self, lags_ms: Sequence[float]) -> None:
        """The same for a driver in a process of its own, which says how much longer its sleeps took."""
        self._lags_ms += lags_ms

    def verify(self) -> None:
        """VoidRunError if the driver lagged or the machine was stolen from."""
        lag_ms = percentile(self._lags_ms, 99) if self._lags_ms else 0.0
        if lag_ms > LAG_P99_MS:
            raise VoidRunError(f"the driver lagged {lag_ms:.1f} ms at p99; {LAG_P99_MS:g} ms is allowed")
        stolen = self._stolen()
        if stolen > STOLEN_SHARE:
            raise VoidRunError(f"{stolen:.1%} of the processor was stolen; {STOLEN_SHARE:.0%} is allowed")

    def _note(self, begun: float, slept_s: float) -> None:
        self._lags_ms.append((time.perf_counter() - begun - slept_s) * 1e3)

    def _stolen(self) -> float:
        spent = [after - before for before, after in zip(self._before, _cpu_times(), strict=True)]
        total = sum(spent)
        return spent[_STEAL] / total if total else 0.0


@dataclass
class Report:
    """The figures of one run, printed as they are added. Names are flat, shares lie between 0 and 1.

    `data` is the directory of recorded ticks, for whoever needs some.
    """

    validity: Validity
    data: Path = Path("data")
    figures: dict[str, float] = field(default_factory=dict)
    missing_peers: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, value: float, says: str) -> None:
        self.figures[name] = round(value, 4)
        print(f"  {name:<28}{value:>12.3f}  {says}")

    def missing(self, peer: str, remedy: str) -> None:
        """Say that a peer cannot be run, so that its figures are absent and not forgotten."""
        self.missing_peers[peer] = remedy
        print(f"  missing peer: {peer}. {remedy}")


@dataclass(frozen=True)
class Benchmark:
    """A question, and the function that adds the figures which answer it.

    `timed` is false if all figures come from virtual time or are of memory: no busy machine can spoil them.
    """

    name: str
    question: str
    run: Callable[[Report], None]
    timed: bool = True


def percentile(values: Sequence[float], share: float) -> float:
    """The `share`-th percentile, linear between neighbours."""
    return float(np.percentile(values, share))


def middle(values: Sequence[float]) -> float:
    """The median: the figure of several repeats."""
    return percentile(values, 50)


def spread(first: Sequence[float], second: Sequence[float]) -> float:
    """How far two series of the same thing lie apart, as a share: no ratio that close to 1 is a claim."""
    one, other = middle(first), middle(second)
    return max(one, other) / min(one, other) - 1.0


def machine() -> dict[str, Any]:
    """Where and when the figures were measured."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "load_1m": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _cpu_times() -> list[int]:
    """Jiffies by state since boot, the eighth being steal; empty where the system does not tell."""
    stat = Path("/proc/stat")
    return [int(word) for word in stat.read_text().splitlines()[0].split()[1:9]] if stat.exists() else []
