"""Profiles: the five that are shipped, and errors that name what is wrong in the file."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from models.errors import ConfigError, UnknownProfile
from routing.load import LoadConfig
from routing.profiles import load_profiles
from tests.unit.routing.worlds import PROFILE_NAMES, PROFILES_YAML, the_profiles

GOOD = """
plugins:
  - {type: task}
  - {type: completion}
  - {type: skill, name: keen, scale: 0.01}
  - {type: skill}
  - {type: best}
profiles:
  mine:
    filters: [task]
    scorers: {completion: 3.0, keen: 1.0}
    ties: skill
    picker: best
"""


def test_the_shipped_profiles_are_there() -> None:
    """The design's four and tightest fit exist, each with its own identity."""
    profiles = [the_profiles().named(name) for name in PROFILE_NAMES]

    assert the_profiles().names == PROFILE_NAMES
    assert len({profile.config_id for profile in profiles}) == len(PROFILE_NAMES)


def test_weights_are_shares_and_the_rule_is_told() -> None:
    """Weights add up to 1, one type may be configured twice, and the rule can be read."""
    profile = load_profiles(GOOD).named("mine")

    assert [weight for _, weight in (*profile.live_scorers, *profile.trait_scorers)] == [0.75, 0.25]
    assert profile.rule == (
        "best of 3 completion + 1 keen among those that fit the deadline; ties by skill, then at random"
    )


def test_identity_follows_every_parameter() -> None:
    """The hash is stable, and another weight or parameter is another profile."""
    ids = {
        load_profiles(text).named("mine").config_id
        for text in (GOOD, GOOD, GOOD.replace("3.0", "2.0"), GOOD.replace("0.01", "0.02"))
    }

    assert len(ids) == 3


@pytest.mark.parametrize(
    ("wrong", "right", "named"),
    [
        ("type: best", "type: luckiest", r"plugins\.4.*luckiest.*'best'"),
        ("scale: 0.01", "sclae: 0.01", r"plugins\.2\.skill\.sclae: Extra inputs"),
        ("scale: 0.01", "scale: -1", r"plugins\.2\.skill\.scale: .*greater than 0"),
        ("{type: completion}", "{type: completion, tau_ms: -1}", r"plugins\.1\.completion\.tau_ms: Extra"),
        ("completion: 3.0", "completion: -3.0", r"profiles\.mine\.scorers\.completion: .*greater than 0"),
        ("completion: 3.0", "completion: .nan", r"profiles\.mine\.scorers\.completion"),
        (
            "completion: 3.0",
            "complexion: 3.0",
            r"profiles\.mine\.scorers: was 'complexion'; defined are completion",
        ),
        ("ties: skill", "ties: best", r"profiles\.mine\.ties: was 'best'"),
        ("filters: [task]", "filters: [completion]", r"profiles\.mine\.filters: was 'completion'"),
        ("picker: best", "picker: worst", r"profiles\.mine\.picker: was 'worst'"),
        (
            "picker: best",
            "colour: red",
            r"profiles\.mine\.picker: Field required.*profiles\.mine\.colour: Extra",
        ),
        ("{completion: 3.0, keen: 1.0}", "{}", r"profiles\.mine\.scorers: .*at least 1"),
        ("name: keen", "name: task", "two have the same name"),
        ("plugins:", "plugins: [", "is not YAML"),
        ("completion: 3.0", "completion: .inf", r"profiles\.mine\.scorers\.completion: .*finite"),
        ("completion: 3.0", "completion: 0", r"profiles\.mine\.scorers\.completion: .*greater than 0"),
        ("completion: 3.0", "completion: much", r"profiles\.mine\.scorers\.completion: .*valid number"),
        ("picker: best", "picker: best\n    explore: {share: 0.2}", r"mine\.explore\.share: .*equal to 0\.1"),
        ("picker: best", "picker: best\n    explore: {share: -0.1}", r"mine\.explore\.share: .*equal to 0"),
        ("picker: best", "picker: best\n    explore: {slack: 0}", r"mine\.explore\.slack: .*greater than 0"),
        ("picker: best", "picker: best\n    explore: {slack: 1.5}", r"mine\.explore\.slack: .*equal to 1"),
        ("picker: best", "picker: best\n    explore: {often: 1}", r"mine\.explore\.often: Extra"),
        ("{type: best}", "{type: tightest_fit, headroom: 1.0}", r"tightest_fit\.headroom: .*less than 1"),
        ("{type: best}", "{type: tightest_fit, headroom: -0.1}", r"tightest_fit\.headroom: .*equal to 0"),
    ],
)
def test_mistakes_are_named(wrong: str, right: str, named: str) -> None:
    """Each mistake stops the load, with the file and the place in the message."""
    assert wrong in GOOD

    with pytest.raises(ConfigError, match=rf"mine\.yaml: .*{named}"):
        load_profiles(GOOD.replace(wrong, right), source="mine.yaml")


def test_shipped_file_has_no_plugin_that_nobody_uses() -> None:
    """Every plugin in the file is part of some profile."""
    text = PROFILES_YAML.read_text()
    used = text[text.index("profiles:") :]

    for line in text[: text.index("profiles:")].splitlines():
        if "type:" in line:
            assert line.split("type: ")[1].split("}")[0].split(",")[0] in used


def test_unknown_profile_lists_the_known() -> None:
    """The error is the caller's to mend: it says what there is."""
    with pytest.raises(UnknownProfile, match="balanced"):
        the_profiles().named("cheapest")


def test_exploration_that_would_never_happen_is_refused() -> None:
    """A picker that looks at every pair chooses by itself whom to try."""
    text = GOOD.replace("{type: best}", "{type: tightest_fit}").replace(
        "picker: best", "picker: tightest_fit"
    )
    assert load_profiles(text).named("mine").nearest_picker is None

    with pytest.raises(
        ConfigError, match=r"profiles\.mine\.explore: has no effect with picker 'tightest_fit'"
    ):
        load_profiles(text + "    explore: {share: 0.01}\n")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"speed": {"settle_tau_ms": -1.0}}, "speed.settle_tau_ms"),
        ({"speed": {"settle_tau_ms": 0.0}}, "speed.settle_tau_ms"),
        ({"speed": {"promise": 1.0}}, "speed.promise"),
        ({"pace": {"tau_ms": -1000.0}}, "pace.tau_ms"),
        ({"pace": {"drift": -0.1}}, "pace.drift"),
        ({"pace": {"prior": 0.0}}, "pace.prior"),
        ({"replica": {"queue_tau_ms": -300.0}}, "replica.queue_tau_ms"),
        ({"replica": {"slow_start_ms": 0.0}}, "replica.slow_start_ms"),
        ({"replica": {"least_share": 1.5}}, "replica.least_share"),
        ({"hop": {"tau_ms": float("nan")}}, "hop.tau_ms"),
        ({"hop": {"remote_ms": -2.0}}, "hop.remote_ms"),
        ({"gate": {"base_ms": -1000}}, "gate.base_ms"),
        ({"gate": {"ejected_share": 2.0}}, "gate.ejected_share"),
        ({"forecast": "perhaps"}, "forecast"),
        ({"tau_ms": 1.0}, "tau_ms"),
    ],
)
def test_time_constants_of_belief_are_checked(wrong: dict[str, Any], named: str) -> None:
    """A negative tau, or a share beyond 1, is refused where it is configured, by its field."""
    with pytest.raises(ValidationError) as caught:
        LoadConfig.model_validate(wrong)

    assert ".".join(str(part) for part in caught.value.errors()[0]["loc"]) == named
