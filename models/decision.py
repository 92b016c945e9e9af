"""What the router chose, promised and why; the record that `hub explain` shows."""

from __future__ import annotations

from enum import StrEnum

from models.base import Frozen
from models.card import ModelKey


class Degradation(StrEnum):
    """How far the answer is from what was asked."""

    NONE = "none"
    SMALLER_MODEL = "smaller_model"
    LAST_GOOD = "last_good"


class FilterCount(Frozen):
    """How many candidates a filter removed, with one of them as the example and the reason for it."""

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


class Promise(Frozen):
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


class Decision(Frozen):
    """A whole decision record. `catalogue_version` is an offset of `hub.models`, `evidence_cursor` the
    position evidence was folded to, `seed` what the tie-break used, `config_id` the hash of the profile.
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
    filters: tuple[FilterCount, ...]
    shortlist: tuple[CandidateView, ...]
    chosen: ModelKey
    pool: str
    replica: str
    promise: Promise
    degradation: Degradation = Degradation.NONE
    reason: str
    panic: bool = False

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
