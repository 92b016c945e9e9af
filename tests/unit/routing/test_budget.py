"""Second attempts stay a share of first ones, whatever happens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.protection.budget import HEDGES, RETRIES, AttemptBudget, BudgetConfig

S = 1_000_000_000

CONFIGS = st.builds(
    BudgetConfig,
    share=st.floats(0, 1),
    saved=st.floats(1, 50),
    tau_ms=st.floats(1, 1e6),
    least_per_s=st.sampled_from([0.0, 0.5, 3.0]),
)
STEPS = st.lists(st.tuples(st.sampled_from(["earn", "spend"]), st.integers(-2 * S, 5 * S)), max_size=200)


@given(CONFIGS, STEPS)
def test_never_more_than_the_share_and_what_is_there_in_any_case(
    config: BudgetConfig, steps: list[tuple[str, int]]
) -> None:
    """For any order of calls and any clock."""
    budget, now_ns, earned, spent, forwards_s = AttemptBudget(config), 0, 0, 0, 0.0
    for step, passed_ns in steps:
        now_ns += passed_ns
        forwards_s += max(0, passed_ns) / S
        if step == "earn":
            budget.earn(now_ns)
            earned += 1
        else:
            spent += budget.spend(now_ns)
        floor = config.least_per_s * (forwards_s + 1.0) + bool(config.least_per_s)
        assert spent <= config.share * earned + floor + 1e-6


def test_a_brown_out_is_met_with_a_tenth_more_calls_and_ten_a_second() -> None:
    """A thousand calls in a second that all fail: about a hundred and twenty are tried again."""
    budget = AttemptBudget(RETRIES)
    again = 0
    for number in range(1000):
        now_ns = number * S // 1000
        budget.earn(now_ns)
        again += budget.spend(now_ns)

    assert 90 <= again <= 121


def test_one_call_now_and_then_may_be_tried_again() -> None:
    """A process with few calls has no savings, and yet ten second attempts a second: a replica that dies
    takes several calls with it.
    """
    budget = AttemptBudget(RETRIES)

    assert [budget.spend(0) for _ in range(11)] == [True] * 10 + [False]
    assert [budget.spend(S) for _ in range(10)] == [True] * 10
    assert not budget.spend(S)


def test_savings_are_bounded_and_lapse() -> None:
    """A quiet hour pays for ten hedges, and after an hour more for none."""
    budget = AttemptBudget(HEDGES)
    for number in range(100_000):
        budget.earn(number)

    assert 9 <= sum(budget.spend(100_000) for _ in range(100)) <= 10
    for number in range(100_000):
        budget.earn(number)
    assert not budget.spend(3600 * S)


@pytest.mark.parametrize("field", ["share", "saved", "tau_ms", "least_per_s"])
def test_absurd_configuration_is_refused_by_name(field: str) -> None:
    """A negative number means nothing anywhere here."""
    with pytest.raises(ValueError, match=field):
        BudgetConfig.model_validate({"share": 0.1} | {field: -1})
