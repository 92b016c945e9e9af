"""What a plugin of the engine is: a frozen value with a `type`, a `name` and its parameters as fields.

Three kinds, three contracts. Each plugin is one module in `filters/`, `scorers/` or `pickers/` and a section
of the README beside it; the union in that package's `__init__` is the registry. All of them are pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from models.base import Frozen
from models.request import Requirements
from routing.catalogue import Catalogue, Mask
from routing.latency import Completion, Floats, Numbers


class Plugin(Frozen):
    """Base of all plugins. `type` says which code runs; `name` tells two configurations of it apart."""

    type: str
    name: str = ""

    @property
    def ref(self) -> str:
        """How profiles refer to it: its name, or its type where it has none."""
        return self.name or self.type


class Filter(Protocol):
    """Removes the models that do not meet one requirement. Asked once per catalogue and kind of request."""

    requirement: ClassVar[str]
    """The field of the request that it judges; errors name it."""

    @property
    def ref(self) -> str: ...

    def keeps(self, wanted: Requirements, catalogue: Catalogue, /) -> Mask:
        """One flag per model of the catalogue."""
        ...

    def reason(self, wanted: Requirements, catalogue: Catalogue, model: int, /) -> str:
        """Why it removed this model, for people."""
        ...

    def asked(self, wanted: Requirements, /) -> Any:
        """What was asked for, as JSON."""
        ...

    def best(self, wanted: Requirements, catalogue: Catalogue, among: Mask, /) -> Any:
        """What the models of `among` (at least one), all of which it removed, offer instead; as JSON."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Traits:
    """What scorers know of each candidate that stays as long as the catalogue does."""

    cost: Floats
    skill_lower: Floats


class TraitScorer(Protocol):
    """Scores by what a model is: 0 worst, 1 best, one entry per candidate."""

    @property
    def ref(self) -> str: ...

    def of_traits(self, traits: Traits) -> Floats: ...


class LiveScorer(Protocol):
    """Scores by how a candidate stands at this moment: 0 worst, 1 best."""

    @property
    def ref(self) -> str: ...

    def of_completion(self, expected_ms: Numbers, budget_ms: float) -> Numbers:
        """The score of one candidate, or entry by entry of many: what one answer takes on average, and what
        is left of the deadline.
        """
        ...


class Picker(Protocol):
    """Chooses one candidate among all replicas of each model, with quantiles."""

    @property
    def ref(self) -> str: ...

    def pick(self, scores: Floats, ties: Floats | None, completion: Completion, seed: int) -> int | None:
        """Index of the choice among at least one candidate; None if all have a score below 0.

        Such a score marks what must not be chosen. `ties` ranks candidates of equal score, `seed` (uniform,
        53 bits) settles the rest.
        """
        ...


@runtime_checkable
class NearestPicker(Picker, Protocol):
    """A picker that goes by scores alone. It is shown each model on the nearest replica of each cohort only,
    without quantiles, and every pair where what it takes there does not fit.
    """

    def pick_few(self, scores: Sequence[float], ties: Sequence[float] | None, seed: int) -> int | None:
        """The same choice as `pick`, where the candidates are so few that arrays cost more than they save."""
        ...
