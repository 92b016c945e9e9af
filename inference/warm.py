"""Warm service time of a model, measured the way a replica calls it: one session, one thread.

Times are processor time of the calling thread, which on an idle core is the elapsed time: what else ran on
the machine meanwhile must make no model slow or dear.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.session import Session
from models.card import WarmProfile

_ROWS: Final = (1, 8, 64, 256, 4096)
_MOST_CALLS: Final = 2000
_WARM_UP: Final = 5
_LEVEL: Final = 0.90

Inputs = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Windows and their context, row by row."""


class Effort(NamedTuple):
    """Per number of rows: processor seconds, and calls that are made even if they take longer."""

    budget_s: float
    fewest: int


THOROUGH: Final = Effort(2.0, 20)
QUICK: Final = Effort(0.1, 4)
BRIEF: Final = Effort(0.001, 4)


def warm_profile(
    session: Session, rows: Inputs, *, effort: Effort = THOROUGH, sizes: Sequence[int] = _ROWS
) -> tuple[WarmProfile, ...]:
    """p50 and p99 of a call for every number of rows in `sizes` that the model takes; `rows` are repeated as
    needed.
    """
    taken = [size for size in sizes if size <= session.card.max_size.max_rows]
    return tuple(_profile(session, rows, size, effort) for size in taken)


def cost_of(session: Session, rows: Inputs) -> float:
    """Cost of a call with one row, thread milliseconds to two digits: the least disturbed tenth of calls."""
    return float(f"{np.percentile(_times_ms(session, rows, 1, THOROUGH), 10):.2g}")


def _profile(session: Session, rows: Inputs, size: int, effort: Effort) -> WarmProfile:
    times = _times_ms(session, rows, size, effort)
    p50, p99 = np.percentile(times, [50, 99])
    return WarmProfile(rows=size, p50_ms=round(float(p50), 4), p99_ms=round(float(p99), 4), n=len(times))


def _times_ms(session: Session, rows: Inputs, size: int, effort: Effort) -> NDArray[np.float64]:
    window, context = (np.resize(part, (size, part.shape[1])) for part in rows)
    times: list[float] = []
    ends = time.thread_time() + effort.budget_s
    while len(times) < effort.fewest or (len(times) < _MOST_CALLS and time.thread_time() < ends):
        started = time.thread_time_ns()
        session.run(window, context, level=_LEVEL)
        times.append((time.thread_time_ns() - started) / 1e6)
    return np.array(times[min(_WARM_UP, len(times) // 4) :])
