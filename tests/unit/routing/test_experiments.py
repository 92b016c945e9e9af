"""Who takes part in which experiment, which files are refused, and when an experiment stops itself."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.card import ModelStatus
from models.errors import ConfigError
from models.outcome import OK, Assignment, DecisionOutcome
from routing.catalogue import Catalogue
from routing.filters.status import StatusFilter
from routing.trials.experiments import Experiments, Metric, load_experiments
from routing.trials.running import CHECK_EVERY, TrialReport, Trials, Verdict
from tests.support.cards import a_card
from tests.unit.routing.worlds import PROFILE_NAMES, a_decision, wants

AB = """
experiments:
  - name: quick
    kind: ab
    asked: balanced
    arms:
      control: {profile: balanced, share: 0.4}
      treatment: {profile: performance_optimized, share: 0.4}
    stop: {min_n: 100, max_n: 2000}
"""
CANARY = "experiments: [{name: next, kind: canary, asked: balanced, model: ridge@2, share: 0.1}]"
SHADOW = (
    "experiments: [{name: unseen, kind: shadow, asked: balanced, profile: cost_optimized, share: 0.25, "
    "metric: cost}]"
)
CHEAP, DEAR = a_card("cheap", cost=0.1), a_card("dear", cost=2.0)
COSTS = {str(card.key): card.cost for card in (CHEAP, DEAR)}


def experiments(text: str) -> Experiments:
    """The experiments of a file that knows the shipped profiles."""
    return load_experiments(text, profiles=PROFILE_NAMES)


def arms(of: Experiments, units: int = 20_000, profile: str = "balanced") -> Counter[str | None]:
    """How many users are in each arm."""
    wanted = wants(profile=profile)
    assigned = (of.arm(wanted, f"user-{number}") for number in range(units))
    return Counter(one.arm if one else None for one in assigned)


def outcome(arm: str, *, experiment: str = "quick", **changes: Any) -> DecisionOutcome:
    """A request of an arm, answered in time unless told otherwise."""
    fields: dict[str, Any] = {
        "profile": "balanced",
        "tier": "pro",
        "outcome": OK,
        "met": True,
        "elapsed_ms": 10.0,
        "ended_ns": 0,
        "decision": a_decision("r", DEAR),
    }
    return DecisionOutcome(assignment=Assignment(experiment, arm), **fields | changes)


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        (AB, {"control": 0.4, "treatment": 0.4, None: 0.2}),
        (CANARY, {"canary": 0.1, "stable": 0.9}),
        (SHADOW, {"shadow": 0.25, None: 0.75}),
    ],
)
def test_arms_get_their_shares(text: str, shares: dict[str | None, float]) -> None:
    """Within what chance allows for 20,000 users; who asked for another profile takes no part."""
    found = arms(experiments(text))

    assert {arm: n / 20_000 for arm, n in found.items()} == pytest.approx(shares, abs=0.015)
    assert set(arms(experiments(text), 100, "cost_optimized")) == {None}


@given(st.text(max_size=40))
def test_a_unit_stays_in_its_arm(unit: str) -> None:
    """Across processes and for any id: nothing but the name and the unit is looked at."""
    assert experiments(AB).arm(wants(within_ms=5.0), unit) == experiments(AB).arm(wants(tier="free"), unit)


def test_experiments_of_two_names_do_not_depend_on_one_another() -> None:
    """Of those in an arm of one, as many are in the arms of the other as of all."""
    one, other = experiments(AB), experiments(AB.replace("name: quick", "name: again"))
    users = [f"user-{number}" for number in range(20_000)]
    within = [user for user in users if (arm := one.arm(wants(), user)) and arm.arm == "control"]
    both = sum((arm := other.arm(wants(), user)) is not None and arm.arm == "control" for user in within)

    assert both / len(within) == pytest.approx(0.4, abs=0.03)


def test_an_arm_changes_the_requirements_and_nothing_else() -> None:
    """The profile or the model; the control of a canary changes nothing; a shadow's live call neither."""
    asked = wants()
    canary, stable = (Assignment("next", "canary", model="ridge@2"), Assignment("next", "stable"))
    shadow = Assignment("unseen", "shadow", profile="cost_optimized", shadow=True)

    assert canary.applied(asked) == asked.model_copy(update={"model": "ridge@2"})
    assert stable.applied(asked) == asked
    assert shadow.applied(asked) == asked.model_copy(update={"profile": "cost_optimized"})
    assert shadow.answered() == Assignment("unseen", "live")


def test_a_canary_reaches_the_version_it_names_whatever_its_status() -> None:
    """Nobody else is sent to one that is not live yet, and a name alone means all of its versions."""
    old, new = a_card("ridge", "1"), a_card("ridge", "2").model_copy(update={"status": ModelStatus.LOAD_ONLY})
    catalogue = Catalogue.of([old, new, a_card("mlp", "2")], version=1)
    judge = StatusFilter(type="status")

    for model, keys in (
        ("ridge@2", ["ridge@2"]),
        ("ridge", ["ridge@1", "ridge@2"]),
        (None, ["mlp@2", "ridge@1"]),
    ):
        kept = judge.keeps(wants(model=model), catalogue)
        assert [key for key, is_kept in zip(catalogue.keys, kept, strict=True) if is_kept] == keys


def test_the_first_experiment_of_the_file_that_has_a_request_keeps_it() -> None:
    """Those whom it leaves out may take part in the next."""
    two = experiments(AB + CANARY.removeprefix("experiments: [").removesuffix("]").join(["  - ", "\n"]))
    found = arms(two)

    assert found["canary"] / 20_000 == pytest.approx(0.2 * 0.1, abs=0.01)
    assert found[None] == 0


def test_the_shipped_file_is_valid_and_empty() -> None:
    """No request takes part in anything unless somebody says so; what is commented out would load."""
    text = (Path(__file__).parents[3] / "config" / "experiments.yaml").read_text()
    examples = text.replace("experiments: []", "experiments:").replace("\n#  ", "\n  ")

    assert experiments(text).specs == ()
    assert [spec.kind for spec in experiments(examples).specs] == ["ab", "canary", "shadow"]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (AB.replace("asked: balanced", "asked: fastest"), r"experiments\.0\.asked: was 'fastest'"),
        (AB.replace("profile: balanced", "profile: slow"), r"experiments\.0\.arms\.control\.profile: was"),
        (AB.replace("share: 0.4}\n      t", "share: 0.7}\n      t"), r"experiments\.0\.ab: .* up to 1\.1"),
        (AB.replace("share: 0.4", "share: 0"), r"experiments\.0\.ab\.arms\.control\.share: "),
        (AB.replace("share: 0.4", "share: .nan"), r"experiments\.0\.ab\.arms\.control\.share: "),
        (AB.replace("kind: ab", "kind: a-b"), r"experiments\.0: "),
        (AB.replace("asked", "wanted"), r"experiments\.0\.ab\.asked: Field required"),
        (AB.replace("name: quick", "name: Quick!"), r"experiments\.0\.ab\.name: "),
        (AB.replace("min_n: 100", "min_n: 1"), r"experiments\.0\.ab\.stop\.min_n: "),
        (AB + AB.removeprefix("\nexperiments:\n"), "experiment quick is there twice"),
        (CANARY.replace("model: ridge@2, ", ""), r"experiments\.0\.canary: .*either a profile or a model"),
        (CANARY.replace("ridge@2", "ridge@two"), r"experiments\.0\.canary\.model: "),
        (SHADOW.replace("cost_optimized", "none"), r"experiments\.0\.profile: was 'none'; known are "),
        ("experiments: [", "is not YAML"),
        ("- 1", "dictionary"),
    ],
)
def test_a_file_that_is_wrong_names_the_field(text: str, field: str) -> None:
    """Before anything is routed."""
    with pytest.raises(ConfigError, match=field):
        experiments(text)


def trial(rng: Random, shares: dict[str, float], requests: int) -> tuple[TrialReport, Experiments]:
    """An experiment whose arms keep their promises with these probabilities."""
    running = experiments(AB)
    trials = Trials(running)
    for _ in range(requests):
        arm = rng.choice(list(shares))
        trials.observe(outcome(arm, met=rng.random() < shares[arm]), COSTS)
    return trials.report("quick", COSTS), running


def test_harm_stops_an_experiment_by_itself() -> None:
    """From then on nobody takes part, so that users are spared."""
    report, running = trial(Random(1), {"control": 0.95, "treatment": 0.7}, 1_500)
    control, treatment = report.arms

    assert report.stopped
    assert (control.verdict, treatment.verdict) == (None, Verdict.WORSE)
    assert treatment.intervals[Metric.MET].upper < 0
    assert set(arms(running, 100)) == {None}


@pytest.mark.parametrize(
    ("shares", "requests", "verdict"),
    [
        ({"control": 0.7, "treatment": 0.95}, 1_500, Verdict.BETTER),
        ({"control": 0.9, "treatment": 0.9}, 1_500, Verdict.GOING_ON),
        ({"control": 0.9, "treatment": 0.9}, 2_100, Verdict.NO_DIFFERENCE),
        ({"control": 0.99, "treatment": 0.1}, 120, Verdict.TOO_FEW),
    ],
)
def test_everything_else_is_said_and_left_to_people(
    shares: dict[str, float], requests: int, verdict: Verdict
) -> None:
    """The experiment goes on until its owner ends it."""
    report, _ = trial(Random(2), shares, requests)

    assert (report.arms[1].verdict, report.stopped) == (verdict, False)


def test_harm_is_seen_at_the_next_check() -> None:
    """Not only when somebody asks for a report."""
    running = experiments(AB)
    trials = Trials(running)
    for number in range(4 * CHECK_EVERY):
        trials.observe(outcome("control", met=number % 10 > 0), COSTS)
        trials.observe(outcome("treatment", met=number % 10 == 0), COSTS)

    assert running.stopped == {"quick"}


def test_cost_is_that_of_the_models_picked() -> None:
    """By the current cards; lower is better, and a model without a card is left out."""
    running = experiments(SHADOW.replace("metric: cost", "metric: cost, stop: {min_n: 100}"))
    trials = Trials(running)
    for number in range(400):
        trials.observe(outcome("live", experiment="unseen", decision=a_decision("r", DEAR)), COSTS)
        card = CHEAP if number % 4 else DEAR
        trials.observe(outcome("shadow", experiment="unseen", decision=a_decision("r", card)), COSTS)
    live, shadow = trials.report("unseen", COSTS).arms

    assert (live.cost, shadow.cost) == pytest.approx((2.0, (3 * 0.1 + 2.0) / 4))
    assert shadow.verdict is Verdict.BETTER
    assert trials.report("unseen", {}).arms[0].cost is None


def test_refusals_count_and_strangers_do_not() -> None:
    """Who was refused missed the promise; completion is of answers; unknown arms are passed over."""
    trials = Trials(experiments(AB))
    trials.observe(outcome("treatment", outcome="shed", met=False, decision=None), COSTS)
    trials.observe(outcome("treatment", outcome="cancelled", met=None), COSTS)
    trials.observe(outcome("nobody"), COSTS)
    trials.observe(outcome("control", experiment="gone"), COSTS)
    (report,) = trials.reports(COSTS)

    assert [(arm.n, arm.met, arm.completion_ms) for arm in report.arms] == [(0, None, None), (2, 0.0, None)]
