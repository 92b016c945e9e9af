"""Everything random about a run, drawn beforehand, so that every policy meets the same requests.

A replica works off `slots` calls at once, first come first served. A call takes its own unit draw, times
`mean_ms`, times the replica's factor at the moment it starts. Loads are shares of the capacity of the whole
pool, slow replicas included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from random import Random
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

REPLICAS: Final = 8
SLOTS: Final = 2
MEAN_MS: Final = 10.0
HOP_MS: Final = 0.5
SLOWER: Final = 5.0
ANTAGONIST_MS: Final = 500.0
BURST: Final = 5.0
BURST_MS: Final = 200.0
BURST_EVERY: Final = 10
"""One period in so many is a burst."""
STALLED: Final = 0.005
"""Share of calls that stall, to between so many times their service time."""
STALLS: Final = (50.0, 100.0)
STALL_BUDGET_MS: Final = STALLS[0] * MEAN_MS
LOWEST, HIGHEST = 0.3, 0.95
LEVEL_MS: Final = 1000.0


@dataclass(frozen=True, slots=True)
class Shift:
    """From `at_ms` on, a call on replica i takes `factors[i]` times as long as on a usual one."""

    at_ms: float
    factors: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """One entry per request: arrival (ms), unit service draw, a number in [0, 1) that says which router takes
    it, and the time until its deadline (ms). `hop_ms` is one way. The first shift is at 0.

    A call stalls if its entry in `stalls` is above 1, which multiplies its service time; one sequence for the
    first call of a request and one for the second. Empty: none does.
    """

    slots: tuple[int, ...]
    shifts: tuple[Shift, ...]
    arrived_ms: Sequence[float]
    draws: Sequence[float]
    lots: Sequence[float]
    budgets_ms: Sequence[float]
    mean_ms: float = MEAN_MS
    hop_ms: float = HOP_MS
    stalls: tuple[Sequence[float], ...] = ()

    def __len__(self) -> int:
        return len(self.arrived_ms)

    def work_ms(self, number: int, attempt: int) -> float:
        """How long a call takes on a usual replica; `attempt` is 0 for the first one of its request."""
        stall = self.stalls[attempt][number] if self.stalls else 1.0
        return self.draws[number] * self.mean_ms * stall


class Scenario(Protocol):
    """Draws a trace; with the same arguments always the same one."""

    def __call__(self, *, load: float, cv: float, seed: int, requests: int) -> Trace: ...


def slow_two_of_eight(*, load: float, cv: float, seed: int, requests: int) -> Trace:
    """Two of the replicas are slower, always the same ones."""
    factors = (SLOWER, SLOWER) + (1.0,) * (REPLICAS - 2)
    return trace_of([Shift(0.0, factors)], levels=[load], cv=cv, seed=seed, requests=requests)


def homogeneous(*, load: float, cv: float, seed: int, requests: int) -> Trace:
    """All replicas are alike."""
    return trace_of([Shift(0.0, _USUAL)], levels=[load], cv=cv, seed=seed, requests=requests)


def antagonist(*, load: float, cv: float, seed: int, requests: int) -> Trace:
    """One random replica is slower; every half second it is another one."""
    shifts = moving_antagonist(Random(seed), until_ms=_lasts_ms(load, requests))
    return trace_of(shifts, levels=[load], cv=cv, seed=seed, requests=requests)


def burst(*, load: float, cv: float, seed: int, requests: int) -> Trace:
    """All replicas are alike; a tenth of the time five times as many requests arrive as `load` says."""
    levels = [load] * (BURST_EVERY - 1) + [load * BURST]
    return trace_of(
        [Shift(0.0, _USUAL)], levels=levels, level_ms=BURST_MS, cv=cv, seed=seed, requests=requests
    )


def stalling(*, load: float, cv: float, seed: int, requests: int) -> Trace:
    """All replicas are alike; a call in two hundred stalls, which a second one of the same request does not
    share. Deadlines are as far away as the shortest stall of a usual call.
    """
    rng = np.random.default_rng([seed, 1])
    calm = homogeneous(load=load, cv=cv, seed=seed, requests=requests)
    stalls = tuple(_stalls(rng, requests).tolist() for _ in range(2))
    return replace(calm, stalls=stalls, budgets_ms=[STALL_BUDGET_MS] * requests)


SCENARIOS: Final[Mapping[str, Scenario]] = {
    "slow": slow_two_of_eight,
    "homogeneous": homogeneous,
    "antagonist": antagonist,
    "burst": burst,
    "stalling": stalling,
}


def trace_of(
    shifts: Sequence[Shift],
    *,
    levels: Sequence[float],
    level_ms: float = LEVEL_MS,
    cv: float,
    seed: int,
    requests: int,
    slots: Sequence[int] = (SLOTS,) * REPLICAS,
    budgets_ms: Callable[[np.random.Generator, int], NDArray[np.float64]] | None = None,
) -> Trace:
    """A trace whose load goes round `levels`, staying at each for `level_ms`.

    Service draws are gamma distributed with mean 1 and the coefficient of variation `cv`; for 1 that is the
    exponential distribution.
    """
    rng = np.random.default_rng(seed)
    per_ms = sum(count / (MEAN_MS * factor) for count, factor in zip(slots, shifts[0].factors, strict=True))
    gaps = rng.exponential(size=requests)
    draws = rng.gamma(cv**-2, cv**2, size=requests)
    lots = rng.random(requests)
    budgets = budgets_ms(rng, requests) if budgets_ms else np.full(requests, inf)
    return Trace(
        slots=tuple(slots),
        shifts=tuple(shifts),
        arrived_ms=_arrivals(gaps, [level * per_ms for level in levels], level_ms).tolist(),
        draws=draws.tolist(),
        lots=lots.tolist(),
        budgets_ms=budgets.tolist(),
    )


def slower(trace: Trace, *, times: float, hop_ms: float) -> Trace:
    """The same requests for replicas that take so many times as long, arriving so many times more rarely."""
    return replace(
        trace,
        mean_ms=trace.mean_ms * times,
        hop_ms=hop_ms,
        arrived_ms=[arrived_ms * times for arrived_ms in trace.arrived_ms],
        shifts=tuple(Shift(shift.at_ms * times, shift.factors) for shift in trace.shifts),
    )


def moving_antagonist(rng: Random, *, until_ms: float) -> list[Shift]:
    """One random replica is slower, in turns of half a second."""
    turns = int(until_ms / ANTAGONIST_MS) + 1
    return [Shift(turn * ANTAGONIST_MS, _slower(rng.randrange(REPLICAS))) for turn in range(turns)]


_USUAL: Final = (1.0,) * REPLICAS


def _stalls(rng: np.random.Generator, requests: int) -> NDArray[np.float64]:
    return np.where(rng.random(requests) < STALLED, rng.uniform(*STALLS, size=requests), 1.0)


def _slower(replica: int) -> tuple[float, ...]:
    return tuple(SLOWER if number == replica else 1.0 for number in range(REPLICAS))


def _lasts_ms(load: float, requests: int) -> float:
    """Longer than so many requests take to arrive."""
    return 1.5 * requests * MEAN_MS / (load * SLOTS * (REPLICAS - 1)) + ANTAGONIST_MS


def _arrivals(gaps: NDArray[np.float64], rates: Sequence[float], level_ms: float) -> NDArray[np.float64]:
    """A Poisson process of changing rate (1/ms): unit-rate arrivals through the inverse of what is due."""
    unit = np.cumsum(gaps)
    rounds = int(unit[-1] / (sum(rates) * level_ms)) + 1
    due = np.concatenate([[0.0], np.cumsum(np.tile(rates, rounds) * level_ms)])
    arrived_ms: NDArray[np.float64] = np.interp(unit, due, np.arange(len(due)) * level_ms)
    return arrived_ms
