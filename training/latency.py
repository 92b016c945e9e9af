"""Warm service time of a model, measured the way a replica calls it: one session, one thread."""

from __future__ import annotations

import time
from typing import Final

import numpy as np

from inference.session import Session
from models.card import WarmProfile
from training.data import Samples

_ROWS: Final = (1, 8, 64, 256, 4096)
_BUDGET_S: Final = 2.0
_MOST_CALLS: Final = 2000
_FEWEST_CALLS: Final = 20
_WARM_UP: Final = 5
_COST_CALLS: Final = 200
_LEVEL: Final = 0.90


def warm_profile(session: Session, samples: Samples) -> tuple[WarmProfile, ...]:
    """p50 and p99 of a call for every number of rows that the model takes."""
    sizes = [rows for rows in _ROWS if rows <= session.card.max_size.max_rows]
    return tuple(_profile(session, samples, rows) for rows in sizes)


def cost_of(session: Session, samples: Samples) -> float:
    """Cost of a call with one row: milliseconds of processor time, to two digits.

    Processor time and not elapsed time: what else ran on the machine must not make a model dear.
    """
    window, context = samples.window[:1], samples.context[:1]
    started = time.thread_time()
    for _ in range(_COST_CALLS):
        session.run(window, context, level=_LEVEL)
    return float(f"{(time.thread_time() - started) * 1000 / _COST_CALLS:.2g}")


def _profile(session: Session, samples: Samples, rows: int) -> WarmProfile:
    window = np.resize(samples.window, (rows, samples.window.shape[1]))
    context = np.resize(samples.context, (rows, samples.context.shape[1]))
    times: list[float] = []
    ends = time.perf_counter() + _BUDGET_S
    while len(times) < _FEWEST_CALLS or (len(times) < _MOST_CALLS and time.perf_counter() < ends):
        started = time.perf_counter()
        session.run(window, context, level=_LEVEL)
        times.append((time.perf_counter() - started) * 1000)
    warm = np.array(times[_WARM_UP:])
    p50, p99 = np.percentile(warm, [50, 99])
    return WarmProfile(rows=rows, p50_ms=round(float(p50), 4), p99_ms=round(float(p99), 4), n=len(warm))
