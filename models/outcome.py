"""What became of a routed request: the decision it had, whether its promise was kept, and at what expense.

`DecisionOutcome` is what analytics and experiments are told of every request, `RecordedDecision` what is kept
of one that had a decision.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from models.answer import Answer
from models.base import Frozen
from models.decision import Decision
from models.errors import HubError
from models.request import Requirements

OK = "ok"
"""The outcome of a request that was answered; any other is the code of an error."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """The arm of an experiment that a request takes part in, and what that arm changes of its requirements.

    `shadow`: the change is for a second call, which is observed and never answered.
    """

    experiment: str
    arm: str
    profile: str | None = None
    model: str | None = None
    shadow: bool = False

    def applied(self, requirements: Requirements) -> Requirements:
        """The requirements as this arm has them."""
        changes = {"profile": self.profile, "model": self.model}
        return requirements.model_copy(update={name: to for name, to in changes.items() if to is not None})

    def answered(self) -> Assignment:
        """Beside a shadow: the arm of the call that is answered."""
        return replace(self, arm="live", profile=None, model=None, shadow=False)


@dataclass(frozen=True, slots=True)
class DecisionOutcome:
    """One routed request at its end. `decision` is the last one it had, None if it was refused before.

    `met` is None where nobody can say, for example of a caller that hung up. `attempts` counts the calls one
    after the other, `hedged` says that one more ran beside them. `ended_ns` is wall time.
    """

    profile: str
    tier: str
    outcome: str
    met: bool | None
    elapsed_ms: float
    ended_ns: int
    decision: Decision | None = None
    attempts: int = 1
    hedged: bool = False
    assignment: Assignment | None = None


class OutcomeRecord(Frozen):
    """How a decided request ended: `elapsed_ms` after its decision, in so many attempts one after the other.

    Of an answer, `inference_ms` and `queue_ms` are what the replica said. Of a failure, `error` is the code
    and `detail` the text that the caller was given; `met` is false.
    """

    met: bool
    elapsed_ms: float
    attempts: int
    inference_ms: float | None = None
    queue_ms: float | None = None
    error: str | None = None
    detail: str | None = None

    @classmethod
    def of(cls, answer: Answer, *, deadline_ns: int) -> OutcomeRecord:
        inferred_ns, lineage = answer.stages["inferred"], answer.lineage
        return cls(
            met=inferred_ns <= deadline_ns,
            elapsed_ms=(inferred_ns - answer.stages["decided"]) / 1e6,
            attempts=lineage.attempts,
            inference_ms=lineage.inference_us / 1e3,
            queue_ms=lineage.queue_us / 1e3,
        )

    @classmethod
    def failed(cls, error: HubError, decision: Decision, *, now_ns: int) -> OutcomeRecord:
        return cls(
            met=False,
            elapsed_ms=(now_ns - decision.decided_ns) / 1e6,
            attempts=decision.attempt,
            error=error.code,
            detail=error.message,
        )


class RecordedDecision(Decision):
    """A decision with what became of it; None for one that was not carried out."""

    outcome: OutcomeRecord | None = None

    @staticmethod
    def encode(decision: Decision, outcome: OutcomeRecord | None) -> bytes:
        """The JSON of both, without validating again what the engine made."""
        said = outcome.model_dump_json() if outcome else "null"
        return f'{decision.model_dump_json()[:-1]},"outcome":{said}}}'.encode()
