"""One routed request from the moment it was asked to its end, and what is told of it then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from models.answer import Answer
from models.decision import Decision
from models.errors import HubError, InputError
from models.outcome import OK, Assignment, DecisionOutcome
from models.request import Requirements

Observe = Callable[[DecisionOutcome], None]


@dataclass(slots=True)
class Journey:
    """How far a request has come."""

    decision: Decision | None = None
    answer: Answer | None = None


@contextmanager
def journey(
    requirements: Requirements,
    assignment: Assignment | None,
    *,
    clock: Callable[[], int],
    observe: Observe,
) -> Iterator[Journey]:
    """A journey for the block to fill in; its outcome is observed however the block ends.

    An error leaves with the decision of the attempt that it ended, which need not be the first.
    """
    begun_ns, made, outcome = clock(), Journey(), "internal"
    met: bool | None = False
    try:
        yield made
        outcome, met = OK, clock() <= requirements.deadline_ns
    except HubError as error:
        outcome, met = error.code, None if isinstance(error, InputError) else False
        made.decision = error.decision = error.decision or made.decision
        raise
    except asyncio.CancelledError:
        outcome, met = "cancelled", None
        raise
    finally:
        answer, now_ns = made.answer, clock()
        decision = answer.decision if answer else made.decision
        observe(
            DecisionOutcome(
                profile=requirements.profile,
                tier=requirements.tier,
                outcome=outcome,
                met=met,
                elapsed_ms=(now_ns - begun_ns) / 1e6,
                ended_ns=now_ns,
                decision=decision,
                attempts=decision.attempt if decision else 1,
                hedged=bool(answer and answer.hedged),
                assignment=assignment,
            )
        )
