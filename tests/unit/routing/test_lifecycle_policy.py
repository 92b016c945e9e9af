"""Which evidence moves a model on, which one takes it back, and what nothing moves."""

from __future__ import annotations

import pytest

from models.card import ModelStatus
from models.evidence import ModelEvidence
from models.task import INTERVAL_LEVELS
from routing.evidence.lifecycle import LifecyclePolicy, NextStep, Standing, next_step
from tests.support.cards import a_card
from tests.support.live_evidence import bounded, observed, seen_on

POLICY = LifecyclePolicy()
DAY_NS = 86_400 * 10**9
LIVE, SHADOW, CANARY = ModelStatus.LIVE, ModelStatus.SHADOW, ModelStatus.CANARY
CANDIDATE, DEMOTED, LOAD_ONLY = ModelStatus.CANDIDATE, ModelStatus.DEMOTED, ModelStatus.LOAD_ONLY


def proof(
    *,
    skill: tuple[float, float] = (0.01, 0.05),
    short: float = 0.0,
    clusters: float = 80.0,
    drift: float = 0.0,
    failures: int = 0,
    answered: int = 1000,
    p99_ms: float = 5.0,
) -> ModelEvidence:
    """Evidence that moves a model on, unless told otherwise; `skill` is its lower bound and its value."""
    coverage = {
        f"{level:.2f}": bounded(level - short, level - short - 0.02, level - short + 0.02)
        for level in INTERVAL_LEVELS
    }
    lower, value = skill
    pooled = seen_on(coverage=coverage, skill=bounded(value, lower, 2 * value - lower))
    pooled = pooled.model_copy(update={"clusters": clusters})
    return observed(instruments=(pooled,)).model_copy(
        update={
            "drift": drift,
            "failures": failures,
            "asked": 200,
            "answered": answered,
            "service_ms": (1.0, p99_ms),
        }
    )


def standing(
    status: ModelStatus,
    evidence: ModelEvidence | None = None,
    *,
    name: str = "ridge",
    version: str = "2",
    since_ns: int = 0,
    retirable: bool = True,
) -> Standing:
    """A model as it is."""
    card = a_card(name, version).model_copy(update={"status": status})
    return Standing(card, since_ns, evidence, retirable)


OTHER = standing(LIVE, proof(), name="logit", version="1")


def step(
    one: Standing, *others: Standing, policy: LifecyclePolicy = POLICY, now_ns: int = 0
) -> NextStep | None:
    """What becomes of it, beside a live model of another name."""
    return next_step(one, [one, OTHER, *others], policy, control="naive", now_ns=now_ns)


def to(found: NextStep | None) -> ModelStatus | None:
    """Its next status."""
    assert found is not None
    assert found.reason
    return found.to


def test_the_way_up() -> None:
    """Candidate, shadow, canary, live: with every proof there is."""
    assert to(step(standing(CANDIDATE))) is SHADOW
    assert to(step(standing(SHADOW, proof()))) is CANARY
    assert to(step(standing(CANARY, proof()))) is LIVE


@pytest.mark.parametrize(
    "missing",
    [
        proof(skill=(-0.001, 0.05)),
        proof(short=0.03),
        proof(clusters=23),
        proof(p99_ms=300.0),
        observed(),
        None,
    ],
)
def test_every_proof_is_needed(missing: ModelEvidence | None) -> None:
    """Skill for certain, coverage, enough observations, speed; without evidence nothing moves."""
    assert step(standing(SHADOW, missing)) is None
    assert step(standing(CANARY, missing)) is None


def test_a_canary_has_to_have_answered() -> None:
    """Being measured beside others is not enough to be live."""
    assert step(standing(CANARY, proof(answered=49))) is None
    assert to(step(standing(CANARY, proof(answered=50)))) is LIVE


def test_a_version_takes_the_place_of_none_that_is_better() -> None:
    """The live version of its name has to be matched; other models' skill does not count."""
    better = standing(LIVE, proof(skill=(0.05, 0.06)), version="1")
    worse = standing(LIVE, proof(skill=(0.01, 0.04)), version="1")

    assert step(standing(SHADOW, proof()), better) is None
    found = step(standing(SHADOW, proof()), worse)
    assert to(found) is CANARY
    assert found is not None
    assert (found.numbers["skill"], found.numbers["rival_skill"]) == (0.05, 0.04)


@pytest.mark.parametrize("status", [SHADOW, CANARY, LIVE])
def test_whoever_breaks_promises_or_crashes_is_demoted(status: ModelStatus) -> None:
    """On whichever step; with the numbers that it was decided on."""
    drifted, crashed = step(standing(status, proof(drift=0.03))), step(standing(status, proof(failures=20)))

    assert to(drifted) is DEMOTED
    assert to(crashed) is DEMOTED
    assert drifted is not None
    assert drifted.numbers["drift"] == 0.03
    assert crashed is not None
    assert crashed.numbers == {"failures": 20.0, "asked": 200.0}


def test_a_few_failures_are_no_quarantine() -> None:
    """Two of two hundred, or five of two hundred: neither is a habit."""
    assert step(standing(LIVE, proof(failures=2))) is None
    assert step(standing(LIVE, proof(failures=5))) is None


def test_the_last_live_model_of_a_market_stays() -> None:
    """However bad: somebody has to answer. One of another market is no substitute."""
    last = standing(LIVE, proof(drift=0.5))
    elsewhere = standing(LIVE, proof(), name="other")
    contract = elsewhere.card.contract.model_copy(update={"horizon_ms": 1})
    elsewhere = elsewhere._replace(card=elsewhere.card.model_copy(update={"contract": contract}))

    assert next_step(last, [last, elsewhere], POLICY, control="naive", now_ns=0) is None
    assert to(step(last)) is DEMOTED


def test_the_control_is_never_moved() -> None:
    """It is what the others are measured against."""
    assert step(standing(LIVE, proof(drift=0.5), name="naive")) is None
    assert step(standing(CANDIDATE, name="naive")) is None


def test_ballast_stays_where_it_is() -> None:
    """Load-only models are nobody's candidates."""
    assert step(standing(LOAD_ONLY, proof(drift=0.5))) is None


def test_whoever_nobody_took_back_is_retired() -> None:
    """After a month; but not what lies in the repository of every node."""
    now_ns = int(30 * DAY_NS)
    found = step(standing(DEMOTED), now_ns=now_ns)

    assert found is not None
    assert (found.to, found.numbers) == (None, {"days": 30.0})
    assert step(standing(DEMOTED), now_ns=now_ns - 1) is None
    assert step(standing(DEMOTED, retirable=False), now_ns=now_ns) is None
