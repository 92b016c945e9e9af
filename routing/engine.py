"""Where a request goes: filter, score, pick.

    requirements + catalogue   -> matching models       filters/, kept per catalogue
    matching models + replicas -> candidates            error gate, kept per placement
    candidates + load          -> completion, scores    evaluation.py, scorers/
    scores + seed              -> one choice            pickers/
    the choice                 -> Decision              promise and ticket; explained only when read

Pure: the clock, the load and the randomness are arguments; with the same ones the decision is the same.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from operator import attrgetter
from random import Random
from typing import Final

from models.decision import Decision, Rendered
from models.ids import random_id
from models.request import Requirements
from routing.beliefs.placement import size_of
from routing.catalogue import Catalogue
from routing.choice.candidates import Candidates, compile_candidates, match_models
from routing.choice.evaluation import Evaluation
from routing.choice.explanation import filters, refusal, shortlist
from routing.choice.refusals import deadline_expired
from routing.load import LoadSnapshot
from routing.profiles import Profile, Profiles

_kind_of: Final = attrgetter(
    "profile",
    "task",
    "data_size",
    "instruments",
    "bar_ms",
    "horizon_ms",
    "min_accuracy",
    "model",
    "canary",
    "tier",
)
"""What tells two kinds of request apart: everything that filters look at."""
KINDS_KEPT: Final = 1024
"""Kinds of request whose candidates are kept; beyond that all are compiled anew."""
SEED_BITS: Final = 53


class Engine:
    """Decides with a fixed set of profiles. What it keeps between decisions changes its speed and nothing
    else, so threads may share one.
    """

    def __init__(self, profiles: Profiles) -> None:
        self._profiles = profiles
        self._kept: dict[tuple[object, ...], Candidates] = {}

    def decide(
        self,
        wanted: Requirements,
        catalogue: Catalogue,
        load: LoadSnapshot,
        *,
        now_ns: int,
        rng: Random,
        exclude: Collection[str] = (),
        attempt: int = 1,
    ) -> Decision:
        """Choose the (model, replica) that keeps the promise best. Replicas in `exclude` are not chosen.

        Raises UnknownProfile; DeadlineExpired; NoModelMatches, naming the requirement that no model meets;
        NothingFeasible, if models match and none can answer in time. Reserves nothing: the caller tells the
        load table what it sends.
        """
        profile = self._profiles.named(wanted.profile)
        budget_ms = (wanted.deadline_ns - now_ns) / 1e6
        if budget_ms <= 0.0:
            raise deadline_expired(budget_ms)
        candidates = self._candidates(profile, wanted, catalogue, load=load, now_ns=now_ns)
        evaluation = Evaluation(
            candidates,
            profile,
            load,
            size=size_of(wanted.rows),
            budget_ms=budget_ms,
            seed=rng.getrandbits(SEED_BITS),
            exclude=exclude,
        )
        choice = evaluation.choose()
        if choice is None:
            raise refusal(evaluation)
        return Decision.computed(
            {
                **candidates.hosts[candidates.host_of.item(choice.row)].fixed,
                "chosen": candidates.models[choice.row].key,
                "replica": load.placement.replicas[choice.replica],
                "decision_id": random_id(rng),
                "decided_ns": now_ns,
                "seed": evaluation.seed,
                "attempt": attempt,
                "budget_ms": budget_ms,
                "filters": Rendered(partial(filters, evaluation)),
                "shortlist": Rendered(partial(shortlist, evaluation)),
                "promise": evaluation.promise(choice),
                "explored": choice.explored,
            }
        )

    def _candidates(
        self,
        profile: Profile,
        wanted: Requirements,
        catalogue: Catalogue,
        *,
        load: LoadSnapshot,
        now_ns: int,
    ) -> Candidates:
        """The candidates of this kind of request, compiled again only if what they depend on changed."""
        kind = _kind_of(wanted)
        kept = self._kept.get(kind)
        if kept is not None and kept.hold(catalogue, load, now_ns):
            return kept
        reusable = kept is not None and kept.match.catalogue is catalogue
        match = kept.match if kept and reusable else match_models(profile.filters, wanted, catalogue)
        if len(self._kept) >= KINDS_KEPT:
            self._kept.clear()
        self._kept[kind] = compiled = compile_candidates(match, profile, load, now_ns)
        return compiled
