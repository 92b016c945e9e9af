"""The strategies file: the shipped one, the documented one, and how a wrong one is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from models.errors import ConfigError
from models.strategy import load_strategies

ROOT = Path(__file__).parents[3]
GOOD = """
strategies:
  - {name: alpha, version: "1", symbols: [EURUSD], bar_ms: 10000, horizon_ms: 60000}
"""


def test_the_shipped_strategies_differ_in_what_they_need() -> None:
    """At least three, with different requirements, so that more than one model can earn picks."""
    strategies = load_strategies((ROOT / "config/strategies.yaml").read_text())

    assert len(strategies) >= 3
    assert len({one.needs for one in strategies}) == len(strategies)
    assert {symbol for one in strategies for symbol in one.symbols} == {"EURUSD", "NZDUSD"}


def test_the_shipped_strategies_ask_for_the_bars_that_models_are_trained_on() -> None:
    """A strategy at another bar size would only ever be skipped."""
    trained = (ROOT / "config/training.yaml").read_text()

    for one in load_strategies((ROOT / "config/strategies.yaml").read_text()):
        assert f"bar_ms: {one.bar_ms}\n" in trained
        assert f"horizon_ms: {one.horizon_ms}\n" in trained


def test_the_example_of_the_documentation_loads() -> None:
    """What a newcomer copies works."""
    text = (ROOT / "docs/your-own-strategy.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)

    (strategy,) = load_strategies(example)
    assert strategy.ref == "breakfast@1"


@pytest.mark.parametrize(
    ("before", "after", "field"),
    [
        ("bar_ms: 10000", "bar_ms: 0", "strategies.0.bar_ms"),
        ("symbols: [EURUSD]", "symbols: [EURUSD.pro]", "strategies.0.symbols.0"),
        ("symbols: [EURUSD]", "symbols: []", "strategies.0.symbols"),
        ("horizon_ms: 60000", "horizon: 60000", "strategies.0.horizon_ms"),
        ("horizon_ms: 60000", "horizon_ms: 60000, policy: {kind: martingale}", "strategies.0.policy.kind"),
        (
            "horizon_ms: 60000",
            "horizon_ms: 60000, needs: {min_accuracy: 95}",
            "strategies.0.needs.min_accuracy",
        ),
        ("strategies:", "strategy:", "strategies"),
    ],
)
def test_a_wrong_field_is_refused_by_name(before: str, after: str, field: str) -> None:
    """A typo stops the hub at the start, and says where it is."""
    with pytest.raises(ConfigError) as caught:
        load_strategies(GOOD.replace(before, after))

    assert caught.value.field == field
    assert field in caught.value.message


@pytest.mark.parametrize("text", ["", "strategies: [", "strategies: []"])
def test_a_file_without_strategies_is_refused(text: str) -> None:
    """An empty file is a mistake, not a quiet hub."""
    with pytest.raises(ConfigError):
        load_strategies(text)


def test_one_reference_stands_for_one_strategy() -> None:
    """Two meanings must never share the ids that derive from `name@version`."""
    entry = GOOD.splitlines()[-1]

    with pytest.raises(ConfigError, match="alpha@1 is there twice"):
        load_strategies(f"{GOOD}{entry}\n")
