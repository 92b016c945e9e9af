"""How fast each replica runs each model: learned from replies, relaxing to what is known more surely.

No belief outlives its evidence. A replica's own service time relaxes to the median of its group with `tau`
(1 s), or a replica that was slow once would never be tried again. The group's median and its tail relax to
the warm profile with `settle_tau` (30 s), or a model that was slow everywhere once would never be again.
Written under the load table's lock only.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Final

import numpy as np

from models.base import Frozen
from routing.latency import Floats, Spread
from routing.placement import SIZES, Group, Placement

_VALUE, _SEEN_MS, _ANSWERED, _MEDIAN, _MEDIAN_SEEN_MS, _TAIL = range(6)
_NEVER: Final = -np.inf

_Where = tuple[int | slice, slice]


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


class Speeds:
    """Beliefs per (size, cell) of a placement. After `settle`: `service_ms`, and `tail`, the multiple of a
    predicted completion that is exceeded with probability 1 - `promise`.
    """

    def __init__(self, placement: Placement, config: SpeedConfig, *, now_ms: int) -> None:
        shape = (len(SIZES), len(placement.cells))
        self._placement = placement
        self._config = config
        self._now_ms = now_ms
        self.spreads = [
            [Spread.seeded(tail, level=config.promise) for tail in group.warm.tail]
            for group in placement.groups
        ]
        self._warm_ms = _per_cell(placement, [group.warm.service_ms for group in placement.groups])
        self._warm_tail = _per_cell(placement, [[spread.tail for spread in sizes] for sizes in self.spreads])
        self._raw: Floats = np.zeros((6, *shape))
        self._raw[[_SEEN_MS, _MEDIAN_SEEN_MS]] = _NEVER
        self._raw[_TAIL] = self._warm_tail
        self.service_ms: Floats = self._warm_ms.copy()
        self.tail: Floats = self._warm_tail.copy()

    def moved_to(self, placement: Placement) -> Speeds:
        """The same beliefs numbered by another placement; a new replica of a known group gets its median."""
        moved = Speeds(placement, self._config, now_ms=self._now_ms)
        moved._adopt(self)  # another of our own kind
        return moved

    def observe(self, size: int, cell: int, seen: Observation) -> None:
        """Take one completed call of a size class in a cell, at the time settled to.

        The weight of the observation grows as the belief fades: a belief that is gone is replaced.
        """
        group = self._placement.group_of[cell]
        belief = self.service_ms[size, cell]
        known = self._freshness(self._raw[_SEEN_MS, size, cell], self._config.tau_ms)
        weight = 1.0 - (1.0 - self._config.gain) * known
        self._raw[_VALUE, size, cell] = belief + (seen.service_ms - belief) * weight
        self._raw[_SEEN_MS, size, cell] = self._now_ms
        self._raw[_ANSWERED, size, cell] = seen.ratio is not None
        if seen.ratio is not None:
            self._learn_ratio(size, group, seen.ratio)
        self._share(size, self._placement.groups[group])

    def settle(self, now_ms: int) -> None:
        """Let every belief relax to `now_ms`."""
        self._now_ms = now_ms
        self._settle((slice(None), slice(None)))

    def _learn_ratio(self, size: int, group: int, ratio: float) -> None:
        """Replaces the group's list of spreads, never changes one: snapshots hold the old."""
        spreads = self.spreads[group].copy()
        spreads[size] = spreads[size].observed(ratio)
        self.spreads[group] = spreads
        self._raw[_TAIL, size, self._placement.groups[group].cells] = spreads[size].tail

    def _share(self, size: int, group: Group) -> None:
        """Tell every cell of the group its new median, over the cells that answered when last asked.

        What a failure cost speaks of its own replica only; or one broken of two would speak for both.
        """
        answered = self._raw[_ANSWERED, size, group.cells] > 0
        if answered.any():
            values = self._raw[_VALUE, size, group.cells][answered]
            self._raw[_MEDIAN, size, group.cells] = median(values.tolist())
            self._raw[_MEDIAN_SEEN_MS, size, group.cells] = self._raw[_SEEN_MS, size, group.cells][
                answered
            ].max()
        self._settle((size, group.cells))

    def _settle(self, at: _Where) -> None:
        value, seen_ms, _, middle, middle_seen_ms, tail = self._raw[:, at[0], at[1]]
        warm_ms, warm_tail = self._warm_ms[at], self._warm_tail[at]
        recent = self._freshness(middle_seen_ms, self._config.settle_tau_ms)
        middle = warm_ms + (middle - warm_ms) * recent
        self.service_ms[at] = middle + (value - middle) * self._freshness(seen_ms, self._config.tau_ms)
        self.tail[at] = warm_tail + (tail - warm_tail) * recent

    def _freshness(self, seen_ms: Floats, tau_ms: float) -> Floats:
        """1 for a belief of just now, towards 0 with age, 0 for one that was never formed."""
        return np.exp(np.maximum(self._now_ms - seen_ms, 0.0) / -tau_ms)

    def _adopt(self, old: Speeds) -> None:
        before, after = old._placement, self._placement
        kept = [(before.cells[cell], new) for cell, new in after.cells.items() if cell in before.cells]
        if kept:
            sources, targets = zip(*kept, strict=True)
            self._raw[:, :, targets] = old._raw[:, :, sources]
        spreads = {group.key: old.spreads[i] for i, group in enumerate(before.groups)}
        for number, group in enumerate(after.groups):
            self.spreads[number] = spreads.get(group.key, self.spreads[number])
            self._share_known(number, group)
        self.settle(self._now_ms)

    def _share_known(self, number: int, group: Group) -> None:
        for size, spread in enumerate(self.spreads[number]):
            self._raw[_TAIL, size, group.cells] = spread.tail
            if (self._raw[_SEEN_MS, size, group.cells] > _NEVER).any():
                self._share(size, group)


def _per_cell(placement: Placement, per_group: list[tuple[float, ...]] | list[list[float]]) -> Floats:
    """Spread one row of sizes per group over the group's cells: shape (sizes, cells)."""
    rows = np.array([per_group[group] for group in placement.group_of]).reshape(-1, len(SIZES))
    return np.ascontiguousarray(rows.T)
