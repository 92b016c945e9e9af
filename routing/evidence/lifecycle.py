"""What evidence makes of a model's standing: the next step of its life, with the numbers that ask for it.

    candidate -> shadow -> canary -> live        once it keeps its promises and beats the control, for certain
    shadow, canary, live -> demoted              once it surely breaks them, or gives no forecast
    demoted -> retired                           once nobody took it back for long

Bounds hold at every moment at once, so it may be asked as often as one likes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Annotated, Final, NamedTuple

from pydantic import Field

from models.base import Frozen
from models.card import POOLED, ModelCard, ModelStatus
from models.evidence import LiveEvidence, ModelEvidence
from models.task import INTERVAL_LEVELS

_DAY_NS: Final = 86_400 * 10**9
_Share = Annotated[float, Field(ge=0, le=1)]
_Count = Annotated[int, Field(gt=0)]


class LifecyclePolicy(Frozen):
    """`automatic`: models move by themselves; else only where somebody says so.

    A model on probation (shadow, canary) moves on with `clusters` independent observations in which each
    level's coverage is within `coverage_slack` of its promise, its skill is surely above 0 and at least that
    of the live version of its name, and 99 % of its calls take `max_service_ms`; a canary also needs
    `canary_answers` answers of its own, of the `canary_share` of requests that canaries get.

    A model is demoted if its recent coverage of some level falls surely short by `most_drift`, or if
    `most_failures` of its latest requests gave no forecast. `retire_after_days` later it is retired.
    """

    automatic: bool = True
    clusters: _Count = 24
    coverage_slack: _Share = 0.02
    max_service_ms: Annotated[float, Field(gt=0)] = 250.0
    canary_share: _Share = 0.05
    canary_answers: _Count = 50
    most_drift: _Share = 0.02
    most_failures: _Share = 0.05
    least_failures: _Count = 3
    retire_after_days: Annotated[float, Field(gt=0)] = 30.0


class Standing(NamedTuple):
    """A model as its life has come to be: its card, since when it has its status, what was seen of it."""

    card: ModelCard
    since_ns: int
    evidence: ModelEvidence | None
    retirable: bool


class NextStep(NamedTuple):
    """To which status, or `None` for out of the catalogue; why, and the numbers behind that."""

    to: ModelStatus | None
    reason: str
    numbers: dict[str, float]


_MEASURED_FIRST: Final = NextStep(ModelStatus.SHADOW, "it is measured beside the models that answer", {})


def next_step(
    one: Standing, all_of_them: Collection[Standing], policy: LifecyclePolicy, *, control: str, now_ns: int
) -> NextStep | None:
    """What is to become of a model now; None if nothing. `control` is never moved: it is the measure."""
    if one.card.name == control:
        return None
    steps: dict[ModelStatus, Callable[[], NextStep | None]] = {
        ModelStatus.CANDIDATE: lambda: _MEASURED_FIRST,
        ModelStatus.SHADOW: lambda: (
            _broken(one, policy) or _proven(one, all_of_them, policy, to=ModelStatus.CANARY)
        ),
        ModelStatus.CANARY: lambda: _broken(one, policy) or _answered(one, all_of_them, policy),
        ModelStatus.LIVE: lambda: _broken(one, policy) if _replaceable(one, all_of_them) else None,
        ModelStatus.DEMOTED: lambda: _outlived(one, policy, now_ns),
    }
    step = steps.get(one.card.status)
    return step() if step else None


def _broken(one: Standing, policy: LifecyclePolicy) -> NextStep | None:
    """Demoted, if it breaks its promises for certain or crashes."""
    seen = one.evidence
    if seen is None:
        return None
    failed = seen.failures / max(seen.asked, 1)
    if seen.failures >= policy.least_failures and failed > policy.most_failures:
        numbers = {"failures": float(seen.failures), "asked": float(seen.asked)}
        return NextStep(ModelStatus.DEMOTED, "in quarantine: it fails instead of answering", numbers)
    if seen.drift > policy.most_drift:
        numbers = {"drift": seen.drift, "outcomes": float(seen.outcomes)}
        return NextStep(
            ModelStatus.DEMOTED, "its intervals hold less than they promise, for certain", numbers
        )
    return None


def _proven(
    one: Standing, all_of_them: Iterable[Standing], policy: LifecyclePolicy, *, to: ModelStatus
) -> NextStep | None:
    """On to the next status, if every proof is there."""
    pooled = one.evidence.on(POOLED) if one.evidence else None
    if one.evidence is None or pooled is None or pooled.skill is None:
        return None
    rival = max((_skill_of(other) for other in all_of_them if _same_name_live(one, other)), default=0.0)
    proofs = {
        "clusters": pooled.clusters >= policy.clusters,
        "coverage": _short_by(pooled) <= policy.coverage_slack,
        "skill": pooled.skill.lower > 0.0 and pooled.skill.value >= rival,
        "speed": one.evidence.service_ms[1] <= policy.max_service_ms,
    }
    if not all(proofs.values()):
        return None
    numbers = {
        "clusters": pooled.clusters,
        "coverage_short_by": _short_by(pooled),
        "skill": pooled.skill.value,
        "skill_lower": pooled.skill.lower,
        "rival_skill": rival,
        "service_p99_ms": one.evidence.service_ms[1],
    }
    return NextStep(to, "it keeps its promises and is better than the control, for certain", numbers)


def _answered(one: Standing, all_of_them: Iterable[Standing], policy: LifecyclePolicy) -> NextStep | None:
    """Live, if it has answered often enough besides."""
    if one.evidence is None or one.evidence.answered < policy.canary_answers:
        return None
    return _proven(one, all_of_them, policy, to=ModelStatus.LIVE)


def _outlived(one: Standing, policy: LifecyclePolicy, now_ns: int) -> NextStep | None:
    days = (now_ns - one.since_ns) / _DAY_NS
    if not one.retirable or days < policy.retire_after_days:
        return None
    return NextStep(None, "nobody took it back since it was demoted", {"days": round(days, 2)})


def _replaceable(one: Standing, all_of_them: Iterable[Standing]) -> bool:
    """Whether another live model serves the same market: somebody has to answer."""
    market = _market(one.card)
    others = (other.card for other in all_of_them if other.card.key != one.card.key)
    return any(card.status is ModelStatus.LIVE and _market(card) == market for card in others)


def _market(card: ModelCard) -> tuple[str, int, int]:
    return card.task, card.contract.bar_ms, card.contract.horizon_ms


def _same_name_live(one: Standing, other: Standing) -> bool:
    return other.card.name == one.card.name and other.card.status is ModelStatus.LIVE


def _skill_of(one: Standing) -> float:
    pooled = one.evidence.on(POOLED) if one.evidence else None
    return pooled.skill.value if pooled and pooled.skill else 0.0


def _short_by(pooled: LiveEvidence) -> float:
    """By how much the level that is covered worst falls short of its promise."""
    return max(0.0, *(level - pooled.coverage[f"{level:.2f}"].value for level in INTERVAL_LEVELS))
