"""How fast each replica runs each model: learned from replies, relaxing to what is known more surely.

No belief outlives its evidence. A replica's own service time relaxes to the median of its group with `tau`
(1 s), or a replica that was slow once would never be tried again. The group's median and its tail relax to
the warm profile with `settle_tau` (30 s), or a model that was slow everywhere once would never be again.
Written under the load table's lock only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from models.base import Frozen
from routing.latency import Floats, Ratios, Spread, faded
from routing.placement import SIZES, Group, Placement


class SpeedConfig(Frozen):
    """`gain` is the weight of a new observation against a belief of just now; `promise` is the level of the
    quantile that has to fit a deadline.
    """

    tau_ms: float = 1000.0
    settle_tau_ms: float = 30_000.0
    gain: float = 0.3
    promise: float = 0.95


@dataclass(frozen=True, slots=True)
class Observation:
    """A call that ended: its service time and, if it answered, its actual over its predicted completion."""

    service_ms: float
    ratio: float | None


class _Shared:
    """What the cells of a group share for one size: the values of those that answered when last asked, and
    the ratios of all of them.
    """

    def __init__(self, group: Group, size: int, config: SpeedConfig) -> None:
        self.warm_ms = group.warm.service_ms[size]
        self.ratios = Ratios(group.warm.tail[size], level=config.promise)
        self.warm_tail = self.ratios.spread.tail
        self.answered: dict[int, float] = {}


class Speeds:
    """Beliefs per (size, cell) of a placement, as of the last `settle`.

    `service_ms` is the service time, `tail` the multiple of a predicted completion that is exceeded with
    probability 1 - `promise`, `spreads` the ratios behind it per group and size. They are replaced, never
    changed: snapshots hold the old ones. A belief is its base and what is left of what was learned beyond:

        middle     = warm + left of (the group's median - warm)
        service_ms = middle + left of (own value - middle)
        tail       = warm + left of (measured tail - warm)
    """

    def __init__(self, placement: Placement, config: SpeedConfig, *, now_ms: int) -> None:
        shape = (len(SIZES), len(placement.cells))
        self._placement = placement
        self._config = config
        self._now_ms = now_ms
        self._shared = [
            [_Shared(group, size, config) for size in range(len(SIZES))] for group in placement.groups
        ]
        self._warm_ms = _per_cell(placement, [[size.warm_ms for size in sizes] for sizes in self._shared])
        self._warm_tail = _per_cell(placement, [[size.warm_tail for size in sizes] for sizes in self._shared])
        self._value, self._value_left = np.zeros(shape), np.zeros(shape)
        self._middle_beyond, self._tail_beyond = np.zeros(shape), np.zeros(shape)
        self.service_ms: Floats = self._warm_ms
        self.tail: Floats = self._warm_tail
        self.spreads = [_spreads(sizes) for sizes in self._shared]

    def moved_to(self, placement: Placement) -> Speeds:
        """The same beliefs numbered by another placement; a new replica of a known group gets its median."""
        moved = Speeds(placement, self._config, now_ms=self._now_ms)
        moved._adopt(self)
        return moved

    def observe(self, size: int, cell: int, seen: Observation) -> None:
        """Take one call of a size class in a cell, at the time settled to.

        The weight of the observation grows as the belief fades: a belief that is gone is replaced. What a
        failure cost speaks of its own cell only; or one broken replica of two would speak for both.
        """
        belief = self.service_ms.item(size, cell)
        weight = 1.0 - (1.0 - self._config.gain) * self._value_left.item(size, cell)
        value = belief + (seen.service_ms - belief) * weight
        self.service_ms = self.service_ms.copy()
        self._value[size, cell] = self.service_ms[size, cell] = value
        self._value_left[size, cell] = 1.0
        number = self._placement.group_of[cell]
        shared = self._shared[number][size]
        if seen.ratio is None:
            shared.answered.pop(cell, None)
        else:
            shared.answered[cell] = value
            shared.ratios.observe(seen.ratio)
            self.spreads = self.spreads.copy()
            self.spreads[number] = _spreads(self._shared[number])
            self._share(size, self._placement.groups[number].cells, shared)

    def settle(self, now_ms: int) -> None:
        """Let every belief relax to `now_ms`."""
        age_ms = now_ms - self._now_ms
        self._now_ms = now_ms
        self._value_left *= faded(age_ms, self._config.tau_ms)
        slowly = faded(age_ms, self._config.settle_tau_ms)
        self._middle_beyond *= slowly
        self._tail_beyond *= slowly
        middle_ms = self._warm_ms + self._middle_beyond
        self.service_ms = middle_ms + (self._value - middle_ms) * self._value_left
        self.tail = self._warm_tail + self._tail_beyond

    def _share(self, size: int, cells: slice, shared: _Shared) -> None:
        """Bring a group up to its new median and tail."""
        middle_ms, tail = median(shared.answered.values()), shared.ratios.spread.tail
        self._middle_beyond[size, cells] = middle_ms - shared.warm_ms
        self.tail = self.tail.copy()
        self.tail[size, cells] = tail
        self._tail_beyond[size, cells] = tail - shared.warm_tail
        beyond_ms = (self._value[size, cells] - middle_ms) * self._value_left[size, cells]
        self.service_ms[size, cells] = beyond_ms + middle_ms

    def _adopt(self, old: Speeds) -> None:
        before, after = old._placement, self._placement
        numbers = {before.cells[cell]: new for cell, new in after.cells.items() if cell in before.cells}
        sources, targets = list(numbers), list(numbers.values())
        self._value[:, targets] = old._value[:, sources]
        self._value_left[:, targets] = old._value_left[:, sources]
        groups = {group.key: number for number, group in enumerate(before.groups)}
        for number, group in enumerate(after.groups):
            if group.key in groups:
                self._adopt_group(number, old, groups[group.key], numbers)
        self.settle(self._now_ms)

    def _adopt_group(self, number: int, old: Speeds, source: int, numbers: dict[int, int]) -> None:
        cells, first = self._placement.groups[number].cells, old._placement.groups[source].cells.start
        self._middle_beyond[:, cells] = old._middle_beyond[:, first, None]
        self._tail_beyond[:, cells] = old._tail_beyond[:, first, None]
        for mine, its in zip(self._shared[number], old._shared[source], strict=True):
            mine.ratios = its.ratios
            mine.answered = {numbers[cell]: ms for cell, ms in its.answered.items() if cell in numbers}
        self.spreads[number] = _spreads(self._shared[number])


def _spreads(sizes: Sequence[_Shared]) -> tuple[Spread, ...]:
    return tuple([size.ratios.spread for size in sizes])


def _per_cell(placement: Placement, per_group: list[list[float]]) -> Floats:
    """Spread one row of sizes per group over the group's cells: shape (sizes, cells)."""
    rows = np.array([per_group[group] for group in placement.group_of]).reshape(-1, len(SIZES))
    return np.ascontiguousarray(rows.T)
