"""Second calls beside late ones: only where they can save the deadline, and few."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from models.decision import Decision
from routing.latency import Ratios, Spread, sigma_of
from routing.protection.budget import BudgetConfig
from routing.protection.hedging import HedgeConfig, HedgePolicy, p_miss
from tests.support.cards import a_card
from tests.unit.routing.worlds import a_decision

PLENTY = BudgetConfig(share=1.0)
SPREADS = st.lists(st.floats(0.1, 20.0), min_size=1, max_size=200).map(
    lambda ratios: Spread(sorted(ratios), 1.0)
)


def decided(
    replica: str = "r1", *, expected_ms: float = 10.0, quantile_ms: float = 20.0, budget_ms: float = 100.0
) -> Decision:
    """A decision with that promise."""
    made = a_decision(replica, a_card(), expected_ms=expected_ms, budget_ms=budget_ms)
    promise = made.promise.model_copy(update={"quantile_ms": quantile_ms})
    return made.model_copy(update={"promise": promise})


def a_policy(p_miss: float = 0.5, *, tokens: int = 50) -> HedgePolicy:
    """A policy that can pay for so many second calls."""
    policy = HedgePolicy(HedgeConfig(p_miss=p_miss, budget=PLENTY))
    for _ in range(tokens):
        policy.earn(0)
    return policy


@given(SPREADS, st.floats(1, 100), st.floats(0, 500), st.floats(0, 500))
def test_the_longer_a_call_is_out_the_more_probably_it_misses(
    spread: Spread, budget_ms: float, one_ms: float, other_ms: float
) -> None:
    """A probability that grows with the time out, and is certain at the deadline."""
    sooner, later = (
        p_miss(spread, expected_ms=10.0, elapsed_ms=elapsed_ms, budget_ms=budget_ms)
        for elapsed_ms in sorted([one_ms, other_ms])
    )

    assert 0.0 < sooner <= later <= 1.0
    assert p_miss(spread, expected_ms=10.0, elapsed_ms=budget_ms, budget_ms=budget_ms) == 1.0


@given(SPREADS, st.floats(0.05, 0.95), st.floats(11.0, 400.0))
def test_it_is_looked_at_when_a_miss_becomes_probable(
    spread: Spread, threshold: float, budget_ms: float
) -> None:
    """At that moment the miss is as probable as configured, and a moment before it was not."""
    policy = HedgePolicy(HedgeConfig(p_miss=threshold))
    after_ms = policy.check_after_ms(decided(budget_ms=budget_ms, quantile_ms=0.0), spread)
    assume(after_ms is not None and after_ms < budget_ms)
    assert after_ms is not None

    def missing(elapsed_ms: float) -> float:
        return p_miss(spread, expected_ms=10.0, elapsed_ms=elapsed_ms, budget_ms=budget_ms)

    assert after_ms >= 10.0
    assert missing(after_ms * 1.000001) >= threshold - 1e-6
    if after_ms > 10.0:
        assert missing(after_ms * 0.999999) < threshold + 1e-6


def test_no_look_where_no_time_is_left_for_another() -> None:
    """A call whose lateness shows only when a second one would be late, too, is not watched."""
    spread = Spread([1.0] * 95 + [8.0] * 5, 8.0)

    assert a_policy().check_after_ms(decided(budget_ms=25.0), spread) is None
    assert a_policy().check_after_ms(decided(budget_ms=35.0), spread) == 10.0


def test_hedged_only_if_late_if_it_can_help_and_elsewhere() -> None:
    """The miss is probable, the other fits what is left, and it is another replica."""
    spread = Spread([1.0] * 95 + [8.0] * 5, 8.0)
    policy, first, other = a_policy(), decided(budget_ms=50.0), decided("r2")

    assert policy.should(first, other, spread, elapsed_ms=12.0, now_ns=0)
    assert not policy.should(first, other, spread, elapsed_ms=9.0, now_ns=0)
    assert not policy.should(first, other, spread, elapsed_ms=31.0, now_ns=0)
    assert not policy.should(first, decided("r1"), spread, elapsed_ms=12.0, now_ns=0)


def test_without_tokens_no_hedge() -> None:
    """What the budget refuses is not sent, however late the first is."""
    spread = Spread([1.0] * 95 + [8.0] * 5, 8.0)
    policy = a_policy(tokens=2)
    late = decided(budget_ms=70.0)
    asked = [policy.should(late, decided("r2"), spread, elapsed_ms=40.0, now_ns=0) for _ in range(4)]

    assert asked == [True, True, False, False]


def test_the_last_chance_of_a_call_needs_no_savings() -> None:
    """A call that could be looked at once more waits; one that could not is rescued, twice in a second."""
    spread, policy = Spread([1.0] * 95 + [8.0] * 5, 8.0), a_policy(tokens=0)
    late = decided(budget_ms=70.0)

    def asked(elapsed_ms: float, now_s: int = 0) -> bool:
        return policy.should(late, decided("r2"), spread, elapsed_ms=elapsed_ms, now_ns=now_s * 10**9)

    assert not asked(40.0)
    assert [asked(50.0) for _ in range(3)] == [True, True, False]
    assert [asked(50.0, now_s=9) for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("stalls", [0.005, 0.05])
def test_hedges_save_stalled_calls_for_two_extra_in_a_hundred(stalls: float) -> None:
    """One call in 200 stalls for ten times as long: nearly all are saved. One in 20: the budget holds."""
    rng, ratios, policy = Random(7), Ratios(sigma_of(2.0), level=0.95), HedgePolicy()
    missed = saved = hedges = 0
    calls = 8_000

    def takes_ms() -> float:
        return 10.0 * rng.lognormvariate(0.0, 0.2) * (10.0 if rng.random() < stalls else 1.0)

    for number in range(calls):
        first = decided(budget_ms=60.0, quantile_ms=15.0)
        spread, first_ms, end_ms = ratios.spread, takes_ms(), 0.0
        policy.earn(number * 1_000_000)
        after_ms = policy.check_after_ms(first, spread)
        end_ms = first_ms
        if after_ms is not None and first_ms > after_ms:
            other = decided("r2", quantile_ms=15.0)
            if policy.should(first, other, spread, elapsed_ms=after_ms, now_ns=number * 1_000_000):
                hedges += 1
                end_ms = min(first_ms, after_ms + takes_ms())
        ratios.observe(end_ms / 10.0)
        missed += first_ms > 60.0
        saved += first_ms > 60.0 >= end_ms

    assert hedges <= 0.02 * calls
    assert saved >= (0.8 if stalls == 0.005 else 0.25) * missed
