"""Warm service time of a model, measured the way a replica calls it: one session, one thread.

Times are processor time of the calling thread, which on an idle core is the elapsed time: what else ran on
the machine during training must make no model slow or dear.
"""

from __future__ import annotations

import time
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inference.session import Session
from models.card import WarmProfile
from training.data import Samples

_ROWS: Final = (1, 8, 64, 256, 4096)
_BUDGET_S: Final = 2.0
_MOST_CALLS: Final = 2000
_FEWEST_CALLS: Final = 20
_WARM_UP: Final = 5
_LEVEL: Final = 0.90


def warm_profile(session: Session, samples: Samples) -> tuple[WarmProfile, ...]:
    """p50 and p99 of a call for every number of rows that the model takes."""
    sizes = [rows for rows in _ROWS if rows <= session.card.max_size.max_rows]
    return tuple(_profile(session, samples, rows) for rows in sizes)


def cost_of(session: Session, samples: Samples) -> float:
    """Cost of a call with one row, thread milliseconds to two digits: the least disturbed tenth of calls."""
    return float(f"{np.percentile(_times_ms(session, samples, 1), 10):.2g}")


def _profile(session: Session, samples: Samples, rows: int) -> WarmProfile:
    times = _times_ms(session, samples, rows)
    p50, p99 = np.percentile(times, [50, 99])
    return WarmProfile(rows=rows, p50_ms=round(float(p50), 4), p99_ms=round(float(p99), 4), n=len(times))


def _times_ms(session: Session, samples: Samples, rows: int) -> NDArray[np.float64]:
    window = np.resize(samples.window, (rows, samples.window.shape[1]))
    context = np.resize(samples.context, (rows, samples.context.shape[1]))
    times: list[float] = []
    ends = time.thread_time() + _BUDGET_S
    while len(times) < _FEWEST_CALLS or (len(times) < _MOST_CALLS and time.thread_time() < ends):
        started = time.thread_time_ns()
        session.run(window, context, level=_LEVEL)
        times.append((time.thread_time_ns() - started) / 1e6)
    return np.array(times[_WARM_UP:])
