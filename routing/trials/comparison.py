"""What another profile would have changed: recorded decisions held against the same requests decided again.

Effects are paired, request by request. Neighbouring requests meet the same load and are not independent, so
the standard error is that of the means of consecutive batches (batch means: Law, Simulation Modeling and
Analysis, section 9.5.3).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, Final

from routing.catalogue import Catalogue
from routing.recordings.replay import Redecided

BATCHES: Final = 20
MEASURES: Final = ("expected_ms", "p_meet", "skill_lower", "cost")
REFUSED: Final = "refused"


@dataclass(frozen=True, slots=True)
class Effect:
    """Means of a prediction over the requests that were answered both times, and the paired difference with
    its standard error (infinite for fewer than two requests).
    """

    before: float
    after: float
    difference: float
    standard_error: float


class Paired:
    """One number of each request, before and after."""

    def __init__(self) -> None:
        self._before: list[float] = []
        self._after: list[float] = []

    def add(self, before: float, after: float) -> None:
        self._before.append(before)
        self._after.append(after)

    def effect(self) -> Effect | None:
        """None without a request."""
        if not self._before:
            return None
        differences = [after - before for before, after in zip(self._before, self._after, strict=True)]
        return Effect(
            fmean(self._before), fmean(self._after), fmean(differences), batch_means_error(differences)
        )


@dataclass(frozen=True, slots=True)
class Pick:
    """What was chosen for a request, and what was promised by it: the numbers of `MEASURES`."""

    model: str
    replica: str
    numbers: dict[str, float]

    @classmethod
    def of(cls, decision: dict[str, Any] | None, catalogue: Catalogue) -> Pick | None:
        """From a decision as JSON; None for a refusal."""
        if decision is None:
            return None
        chosen, promise = decision["chosen"], decision["promise"]
        model = f"{chosen['name']}@{chosen['version']}"
        cost = catalogue.cost.item(bisect_left(catalogue.keys, model))
        numbers = {name: promise[name] for name in MEASURES if name != "cost"}
        return cls(model, decision["replica"], numbers | {"cost": cost})


class Comparison:
    """Totals over a replay. A request that one side refused counts as changed, and in no effect."""

    def __init__(self) -> None:
        self.requests = 0
        self.other_model = 0
        self.other_replica = 0
        self.picks_before: Counter[str] = Counter()
        self.picks_after: Counter[str] = Counter()
        self._pairs = {name: Paired() for name in MEASURES}

    @property
    def changed(self) -> int:
        """Requests with another model, or the same model on another replica."""
        return self.other_model + self.other_replica

    def add(self, again: Redecided) -> None:
        """Count one request."""
        before = Pick.of(again.recorded.choice.decision, again.catalogue)
        after = Pick.of(again.choice.decision, again.catalogue)
        models = [pick.model if pick else REFUSED for pick in (before, after)]
        self.requests += 1
        self.picks_before[models[0]] += 1
        self.picks_after[models[1]] += 1
        self.other_model += models[0] != models[1]
        if before and after:
            self.other_replica += before.model == after.model and before.replica != after.replica
            for name, paired in self._pairs.items():
                paired.add(before.numbers[name], after.numbers[name])

    def effects(self) -> dict[str, Effect]:
        """By the names of `MEASURES`; empty if no request was answered both times."""
        found = {name: paired.effect() for name, paired in self._pairs.items()}
        return {name: effect for name, effect in found.items() if effect}


def batch_means_error(values: Sequence[float]) -> float:
    """Standard error of the mean of correlated values, from the means of up to twenty consecutive batches."""
    batches = min(BATCHES, len(values))
    if batches < 2:
        return math.inf
    size = len(values) // batches
    means = [fmean(values[start * size : (start + 1) * size]) for start in range(batches)]
    return stdev(means) / math.sqrt(batches)
