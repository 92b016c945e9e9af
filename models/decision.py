"""What the router chose, promised and why; the record that `hub explain` shows.

A decision takes microseconds and most explanations are never read. So, unlike the other nouns, it is built
without validation by the engine (`computed`), and its explanation is rendered when read (`Rendered`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self, TypeVar, overload

from pydantic import AfterValidator, PlainSerializer

from models.base import Frozen
from models.card import ModelKey

Row = TypeVar("Row")

_put = object.__setattr__  # past the guard of a frozen model


class Rendered(Sequence[Row]):
    """A sequence whose rows are computed when the first of them is read; equal to a tuple of the same rows.

    The source must be immutable, for it is read later. Pickled and serialised as the tuple.
    """

    __slots__ = ("_render", "_rows")

    def __init__(self, render: Callable[[], tuple[Row, ...]]) -> None:
        self._render = render
        self._rows: tuple[Row, ...] | None = None

    def rows(self) -> tuple[Row, ...]:
        if self._rows is None:
            self._rows = self._render()
        return self._rows

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Row, ...]: ...
    def __getitem__(self, index: int | slice) -> Row | tuple[Row, ...]:
        return self.rows()[index]

    def __len__(self) -> int:
        return len(self.rows())

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self.rows() == tuple(other)

    def __hash__(self) -> int:
        return hash(self.rows())

    def __repr__(self) -> str:
        return repr(self.rows())

    def __reduce__(self) -> tuple[Any, ...]:
        return tuple, (self.rows(),)


def _rows(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(values)


class Computed(Frozen):
    """A value that the engine computes within microseconds, and everybody else validates."""

    _all_fields: ClassVar[set[str]]

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        cls._all_fields = set(cls.model_fields)

    @classmethod
    def computed(cls, fields: dict[str, Any]) -> Self:
        """The value of all its fields, already of the right types. For the engine alone."""
        made = cls.__new__(cls)
        _put(made, "__dict__", fields)
        _put(made, "__pydantic_fields_set__", cls._all_fields)
        _put(made, "__pydantic_extra__", None)
        _put(made, "__pydantic_private__", None)
        return made


class Degradation(StrEnum):
    """How far the answer is from what was asked."""

    NONE = "none"
    SMALLER_MODEL = "smaller_model"
    LAST_GOOD = "last_good"


class Execution(StrEnum):
    """Where the answer is computed: in a replica's process, or in the caller's own."""

    REMOTE = "remote"
    LOCAL = "local"


class FilterCount(Frozen):
    """How many candidates a filter removed, with one of them as the example and the reason for it.

    Filters on requirements count models, filters on replicas and the deadline count (model, replica) pairs.
    """

    name: str
    removed: int
    example: str | None = None
    reason: str | None = None


class CandidateView(Frozen):
    """One evaluated (model, replica): its numbers at the moment of the decision. Milliseconds and shares."""

    model: str
    replica: str
    pool: str
    expected_ms: float
    quantile_ms: float
    p_meet: float
    feasible: bool
    score: float
    queue: int


class Promise(Computed):
    """What the choice promises. `interval_level` is the level answered with, `coverage_lower` its bound."""

    expected_ms: float
    quantile_ms: float
    p_meet: float
    interval_level: float
    coverage_lower: float
    skill_lower: float


class Ticket(Frozen):
    """A decision's binding part, carried with the call to exactly this replica."""

    decision_id: str
    attempt: int
    model: ModelKey
    pool: str
    replica: str
    deadline_ns: int
    interval_level: float


FilterCounts = Annotated[
    Sequence[FilterCount],
    AfterValidator(_rows),
    PlainSerializer(_rows, return_type=tuple[FilterCount, ...]),
]
Shortlist = Annotated[
    Sequence[CandidateView],
    AfterValidator(_rows),
    PlainSerializer(_rows, return_type=tuple[CandidateView, ...]),
]


class Decision(Computed):
    """A whole decision record. `catalogue_version` is an offset of `hub.models`, `evidence_cursor` the
    position evidence was folded to, `seed` what the tie-break used, `config_id` the hash of the profile.
    `explored` says that the choice was made to learn of the replica: another one than the best, or one that
    is believed too slow (its promise then says so) where none is believed quick enough.
    """

    decision_id: str
    decided_ns: int
    profile: str
    config_id: str
    catalogue_version: int
    evidence_cursor: int
    seed: int
    attempt: int
    budget_ms: float
    candidates: int
    filters: FilterCounts
    shortlist: Shortlist
    chosen: ModelKey
    pool: str
    replica: str
    promise: Promise
    degradation: Degradation = Degradation.NONE
    reason: str
    panic: bool = False
    execution: Execution = Execution.REMOTE
    explored: bool = False

    def ticket(self, deadline_ns: int) -> Ticket:
        return Ticket(
            decision_id=self.decision_id,
            attempt=self.attempt,
            model=self.chosen,
            pool=self.pool,
            replica=self.replica,
            deadline_ns=deadline_ns,
            interval_level=self.promise.interval_level,
        )
