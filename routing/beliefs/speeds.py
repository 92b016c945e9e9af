"""How long each model's calls take and how far that scatters: learned from replies, relaxing to the card.

Per group (model, pool, hardware) and size a factor on the warm profile's service time, estimated like a pace
(`pace.py`); both share the credit for an error by how uncertain they are. Per group, size and depth of the
queue the ratios of actual to predicted completion: a call that waits behind others is the sum of several
service times, scatters less than one that does not, and must not be promised with the other's quantile.

What is learned relaxes to the warm profile with `settle_tau` (30 s), in steps of a quarter of a second, or a
model that was slow everywhere once would never be tried again. Written under the load table's lock only.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import Annotated, Any, Final

import numpy as np
from pydantic import Field

from models.base import Frozen
from models.bounds import Positive
from routing.beliefs.pace import NOISE
from routing.beliefs.placement import SIZES, GroupKey, Placement
from routing.latency import Floats, Ratios, Spread, faded, seed_tail, sigma_of

STEP_MS: Final = 250.0
_DEPTHS: Final = (1.0, 2.0, 4.0)
_DEPTH_CALLS: Final = (1.0, 1.5, 3.0, 6.0)
"""Typical number of service times in a completion of each depth: seeds scatter less by its square root."""
DEPTHS: Final = len(_DEPTH_CALLS)
_PAGE: Final = 6
_PRIOR: Final = 0.25
_LEAST_FACTOR: Final = 1e-3
_ANCHOR_STEPS: Final = 1000
_BACK_STEPS: Final = 240


class SpeedConfig(Frozen):
    """`promise` is the level of the quantile that has to fit a deadline."""

    settle_tau_ms: Positive = 30_000.0
    promise: Annotated[float, Field(gt=0, lt=1)] = 0.95


def depth_of(calls_per_slot: float) -> int:
    """Class of a queue that the next call finds: it is served at once (0), or after ever more others."""
    return bisect_left(_DEPTHS, calls_per_slot)


Place = tuple[int, int, int]
"""Group, size, depth."""


class Spreads:
    """Spreads by place. Immutable: `put` gives a new one that shares all pages but one with the old."""

    def __init__(self, pages: tuple[dict[Place, Spread], ...]) -> None:
        self._pages = pages

    @classmethod
    def empty(cls, groups: int) -> Spreads:
        return cls(({},) * ((groups >> _PAGE) + 1))

    def get(self, place: Place) -> Spread | None:
        """The measured spread; None where nothing was measured yet."""
        return self._pages[place[0] >> _PAGE].get(place)

    def put(self, place: Place, spread: Spread) -> Spreads:
        number = place[0] >> _PAGE
        page = {**self._pages[number], place: spread}
        return Spreads((*self._pages[:number], page, *self._pages[number + 1 :]))


class Speeds:
    """Beliefs per group of a placement, as of the step settled to. The arrays are replaced, never changed:
    snapshots hold the old ones.

    `service_ms[size]` is a model's service time on a replica of usual pace; `tail[size][depth]` the multiple
    of a predicted completion that is exceeded with probability 1 - `promise`.
    """

    def __init__(self, placement: Placement, config: SpeedConfig) -> None:
        groups = placement.groups
        self._placement = placement
        self._config = config
        self._step = self._anchor = 0
        self.warm_ms = _per_size([group.warm.service_ms for group in groups])
        self._sigma = _per_size([tuple(map(sigma_of, group.warm.tail)) for group in groups])
        self.warm_tail = [
            [seed_tail(sigma / math.sqrt(calls), level=config.promise) for calls in _DEPTH_CALLS]
            for sigma in self._sigma
        ]
        self._factor = [np.zeros(len(groups)) for _ in SIZES]
        self._certainty = [np.zeros(len(groups)) for _ in SIZES]
        self._widening = [[np.zeros(len(groups)) for _ in _DEPTH_CALLS] for _ in SIZES]
        self._ratios: dict[Place, Ratios] = {}
        self._learned = [False] * len(SIZES)
        self.service_ms: list[Floats] = list(self.warm_ms)
        self.tail: list[list[Floats]] = [list(depths) for depths in self.warm_tail]
        self.spreads = Spreads.empty(len(groups))

    def variance(self, group: int, size: int) -> float:
        """How uncertain the service time of a group is, as the variance of its relative error."""
        return _PRIOR - self._certainty[size].item(group) * self._left()

    def observe_service(
        self, group: int, size: int, ratio: float, pace_variance: float, *, at_most: float
    ) -> None:
        """Take the ratio of a measured service time to the one believed of this group and replica.

        The belief grows by a factor of `at_most`, what the pace left unexplained, or both together would go
        beyond what was measured.
        """
        own, left = self.variance(group, size), self._left()
        gain = own / (own + pace_variance + NOISE)
        factor = 1.0 + self._factor[size].item(group) * left
        step = min(1.0 + gain * (ratio - 1.0), max(1.0, at_most))
        factor = max(_LEAST_FACTOR, factor * step)
        self._factor[size][group] = (factor - 1.0) / left
        self._certainty[size][group] = (_PRIOR - own * (1.0 - gain)) / left
        self._learned[size] = True
        replaced = self.service_ms[size].copy()
        replaced[group] = self.warm_ms[size].item(group) * factor
        self.service_ms = [*self.service_ms[:size], replaced, *self.service_ms[size + 1 :]]

    def observe_completion(self, place: Place, ratio: float, *, ended: bool = True) -> None:
        """Take the ratio of an actual to its predicted completion; or, of a call that was given up before it
        ended, of the time until then.
        """
        group, size, depth = place
        ratios = self._ratios.get(place) or self._seeded(place)
        (ratios.observe if ended else ratios.observe_beyond)(ratio)
        self._ratios[place] = ratios
        self.spreads = self.spreads.put(place, ratios.spread)
        beyond = ratios.spread.tail - self.warm_tail[size][depth].item(group)
        self._widening[size][depth][group] = beyond / self._left()
        self._learned[size] = True
        replaced = self.tail[size][depth].copy()
        replaced[group] = ratios.spread.tail
        depths = [*self.tail[size][:depth], replaced, *self.tail[size][depth + 1 :]]
        self.tail = [*self.tail[:size], depths, *self.tail[size + 1 :]]

    def forget_spread(self, group: int) -> None:
        """Assume again how far a group's completions scatter, at every size and depth: what was seen was of
        other times.
        """
        for place in [place for place in self._ratios if place[0] == group]:
            _, size, depth = place
            del self._ratios[place]
            self.spreads = self.spreads.put(place, self._seeded(place).spread)
            self._widening[size][depth][group] = 0.0
            self._relax(size)

    def spread(self, place: Place) -> Spread:
        """The spread assumed of a place not measured: it never changes, so snapshots may ask later."""
        return self._seeded(place).spread

    def settle(self, now_ms: float) -> bool:
        """Bring the beliefs to a moment; True if that is in a later step than the last.

        A clock that went back by less than a minute is waited for.
        """
        step = int(now_ms // STEP_MS)
        if -_BACK_STEPS < step - self._step <= 0:
            return False
        self._step = step
        for size, learned in enumerate(self._learned):
            if learned:
                self._relax(size)
        return True

    def anchor(self) -> None:
        """Count relaxation from the current step, now and then, lest its numbers grow without bound.

        What is learned is kept as it would be at the anchor: so beliefs depend on what was told when, and not
        on how often somebody looked.
        """
        if 0 <= self._step - self._anchor < _ANCHOR_STEPS:
            return
        left = self._left()
        for size in range(len(SIZES)):
            self._factor[size] *= left
            self._certainty[size] *= left
            self._widening[size] = [widening * left for widening in self._widening[size]]
        self._anchor = self._step

    def _left(self) -> float:
        return faded((self._step - self._anchor) * STEP_MS, self._config.settle_tau_ms)

    def _relax(self, size: int) -> None:
        left = self._left()
        service_ms = self.warm_ms[size] * (1.0 + self._factor[size] * left)
        self.service_ms = [*self.service_ms[:size], service_ms, *self.service_ms[size + 1 :]]
        pairs = zip(self.warm_tail[size], self._widening[size], strict=True)
        tails = [warm + widening * left for warm, widening in pairs]
        self.tail = [*self.tail[:size], tails, *self.tail[size + 1 :]]

    def _seeded(self, place: Place) -> Ratios:
        group, size, depth = place
        sigma = self._sigma[size].item(group) / math.sqrt(_DEPTH_CALLS[depth])
        return Ratios(sigma, level=self._config.promise)

    def moved_to(self, placement: Placement) -> Speeds:
        """The same beliefs numbered by another placement."""
        moved = Speeds(placement, self._config)
        moved.restore(self.export())
        return moved

    def export(self) -> dict[str, Any]:
        """The state as JSON can hold it: what was learned of each group, by its key."""
        learned = {place[0] for place in self._ratios}
        learned.update(int(group) for factor in self._factor for group in factor.nonzero()[0])
        keys = [(group, self._placement.groups[group].key) for group in sorted(learned)]
        return {
            "step": self._step,
            "anchor": self._anchor,
            "groups": [[list(key), self._export(group)] for group, key in keys],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take the state of another; groups that this placement does not have are forgotten."""
        self._step, self._anchor = state["step"], state["anchor"]
        for key, learned in state["groups"]:
            group = self._placement.group_index.get(_group_key(key))
            if group is not None:
                self._restore(group, learned)
        for size in range(len(SIZES)):
            self._relax(size)

    def _export(self, group: int) -> dict[str, Any]:
        own = [(place, ratios) for place, ratios in self._ratios.items() if place[0] == group]
        return {
            "factor": [factor.item(group) for factor in self._factor],
            "certainty": [certainty.item(group) for certainty in self._certainty],
            "widening": [[widening.item(group) for widening in depths] for depths in self._widening],
            "ratios": [[size, depth, ratios.export()] for (_, size, depth), ratios in own],
        }

    def _restore(self, group: int, learned: dict[str, Any]) -> None:
        for size in range(len(SIZES)):
            self._factor[size][group] = learned["factor"][size]
            self._certainty[size][group] = learned["certainty"][size]
            self._learned[size] = True
            for depth, widening in enumerate(learned["widening"][size]):
                self._widening[size][depth][group] = widening
        for size, depth, arrived in learned["ratios"]:
            place = (group, size, depth)
            self._ratios[place] = self._seeded(place)
            self._ratios[place].restore(arrived)
            self.spreads = self.spreads.put(place, self._ratios[place].spread)


def _per_size(per_group: list[tuple[float, ...]]) -> list[Floats]:
    """One array over the groups for each size."""
    rows = np.array(per_group, dtype=float).reshape(-1, len(SIZES))
    return [np.ascontiguousarray(column) for column in rows.T]


def _group_key(key: list[str]) -> GroupKey:
    pool, hardware, model = key
    return pool, hardware, model
