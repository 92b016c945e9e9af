"""Why there is no choice, as errors that callers know: what was in the way, and what could be had instead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from models.decision import FilterCount
from models.errors import DeadlineExpired, NoModelMatches, NothingFeasible
from models.request import Requirements
from routing.catalogue import Catalogue, Mask
from routing.plugin import Filter

RETRY_S: Final = 1.0
"""When to ask again if no better time is known: beliefs about a replica fade within about a second."""


def no_model_matches(
    judge: Filter, wanted: Requirements, catalogue: Catalogue, *, among: Mask, counts: Sequence[FilterCount]
) -> NoModelMatches:
    """The requirement that removed every model left, what was asked for and the best on offer."""
    asked, best = judge.asked(wanted), judge.best(wanted, catalogue, among)
    return NoModelMatches(
        f"no model meets {judge.requirement} = {asked!r}; the best available is {best!r}",
        field=judge.requirement,
        details={
            "requirement": judge.requirement,
            "asked": asked,
            "best_available": best,
            "filters": [count.model_dump() for count in counts],
            "catalogue_version": catalogue.version,
        },
    )


def empty_catalogue(catalogue: Catalogue) -> NothingFeasible:
    """No model at all: the registry has published none, or this process has not read them yet."""
    return NothingFeasible(
        "the catalogue holds no model yet; wait for the registry",
        retry_after_s=RETRY_S,
        details={"catalogue_version": catalogue.version, "best_p_meet": 0.0},
    )


def nowhere_to_run(counts: Sequence[FilterCount]) -> NothingFeasible:
    """Models match, but every replica that holds one is missing, ejected or was already tried."""
    return NothingFeasible(
        "models match, but no replica that holds one is available",
        retry_after_s=RETRY_S,
        details={"best_p_meet": 0.0, "filters": [count.model_dump() for count in counts if count.removed]},
    )


def deadline_expired(budget_ms: float) -> DeadlineExpired:
    """The request arrived, or came back for another attempt, too late."""
    return DeadlineExpired(
        f"the deadline passed {-budget_ms:.1f} ms before the decision", field="max_latency_ms"
    )
