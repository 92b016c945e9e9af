"""How many replicas a pool should have."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.scaling import PoolState, ScalingConfig, Trend, beta, replicas_wanted
from tests.support.step_load import OurRule, Outcome, ServeRule, scaled

CONFIG = ScalingConfig()
STATES = st.builds(
    PoolState,
    replicas=st.integers(1, 50),
    slots=st.integers(1, 8),
    arrived_per_s=st.floats(0, 1e5),
    service_ms=st.floats(0, 1e4),
    queued=st.floats(0, 1e4),
    busy=st.floats(0, 1),
    waited=st.floats(0, 1),
)


def a_pool(**changes: Any) -> PoolState:
    """Five replicas of two slots with 6 Erlang, nobody waiting."""
    usual = PoolState(
        replicas=5, slots=2, arrived_per_s=40.0, service_ms=150.0, queued=0.0, busy=0.6, waited=0.0
    )
    return usual._replace(**changes)


def wanted(pool: PoolState, *, growth_per_s: float = 0.0, most: int = 100) -> int:
    """What the rule wants without bounds that matter."""
    return replicas_wanted(pool, CONFIG, least=1, most=most, growth_per_s=growth_per_s)


def erlang_c(servers: int, erlangs: float) -> float:
    """Probability that a call waits with so many servers; the exact formula that staffing approximates."""
    blocked = 1.0
    for number in range(1, servers + 1):
        blocked = erlangs * blocked / (number + erlangs * blocked)
    return blocked / (1.0 - erlangs / servers * (1.0 - blocked))


@pytest.mark.parametrize("erlangs", [10.0, 30.0, 300.0])
@pytest.mark.parametrize("may_wait", [0.05, 0.1, 0.5])
def test_staffing_keeps_the_share_that_waits(erlangs: float, may_wait: float) -> None:
    """Against Erlang's formula: at most a little more than asked for wait; two servers fewer are too few."""
    servers = math.ceil(erlangs + beta(may_wait) * math.sqrt(erlangs))

    assert erlang_c(servers, erlangs) <= may_wait * 1.5
    assert erlang_c(servers - 2, erlangs) > may_wait


def test_the_pool_that_fits_stays() -> None:
    """6 Erlang take ten slots."""
    assert wanted(a_pool()) == 5


def test_load_that_grows_is_met_where_it_will_be() -> None:
    """A new replica takes 15 s: what is added until then is counted, what goes away is not."""
    assert wanted(a_pool(), growth_per_s=0.4) == 9
    assert wanted(a_pool(), growth_per_s=-0.4) == 5


def test_a_queue_takes_more_to_drain() -> None:
    """400 calls of 150 ms in five seconds: 12 Erlang more."""
    assert wanted(a_pool(queued=400.0)) == wanted(a_pool(arrived_per_s=120.0)) == 13


def test_saturated_pool_leaps_and_one_that_loses_deadlines_grows() -> None:
    """What is shed before the pool does not arrive there; being full is all that it can say."""
    assert wanted(a_pool(busy=0.97)) == 10
    assert wanted(a_pool(waited=0.02)) == 6


def test_dead_band_spares_small_steps_down() -> None:
    """A tenth less load frees no replica, half of it does."""
    assert wanted(a_pool(arrived_per_s=33.0)) == 5
    assert wanted(a_pool(arrived_per_s=20.0)) == 3


@given(STATES, st.integers(1, 10), st.integers(0, 30), st.floats(-5, 5))
def test_within_bounds_whatever_is_said(pool: PoolState, least: int, more: int, growth_per_s: float) -> None:
    """And an empty pool shrinks to its least."""
    most = least + more
    count = replicas_wanted(pool, CONFIG, least=least, most=most, growth_per_s=growth_per_s)

    assert least <= count <= most


@given(STATES, st.floats(1, 3))
def test_more_load_never_wants_fewer(pool: PoolState, factor: float) -> None:
    """In arrivals, queue and what is lost."""
    more = pool._replace(arrived_per_s=pool.arrived_per_s * factor, queued=pool.queued * factor, waited=1.0)

    assert wanted(more) >= wanted(pool)


def test_trend_follows_growth_and_ignores_a_clock_set_back() -> None:
    """Steady growth is found within a few time constants."""
    trend = Trend(0.0, 0.0)
    for second in range(1, 100):
        trend = trend.followed(0.5 * second, float(second))

    assert trend.growth_per_s == pytest.approx(0.5, rel=0.01)
    assert trend.followed(1000.0, 50.0) == trend


@cache
def ours_played() -> Outcome:
    """Our rule, once for all."""
    return played(OurRule())


def played(rule: OurRule | ServeRule) -> Outcome:
    """The step load of tests/support/step_load.py: 6 to 30 Erlang for five minutes, and back."""
    return scaled(rule, seed=1)


def test_step_load_beside_serves_default_rule() -> None:
    """Half as many deadlines lost to waiting, for two thirds of the replica time."""
    ours, serve = ours_played(), played(ServeRule())

    assert ours.missed_share <= 0.5 * serve.missed_share
    assert ours.replica_s <= 0.67 * serve.replica_s


def test_step_load_beside_serves_rule_with_our_delays() -> None:
    """As quick and as cheap; after the first minute hardly anything is lost, without a target to be tuned."""
    ours, serve = ours_played(), played(ServeRule(look_back_s=12.0, up_s=0.0, down_s=120.0))

    assert ours.missed_later <= 0.1 * serve.missed_later
    assert ours.missed_share <= serve.missed_share
    assert ours.replica_s <= 1.1 * serve.replica_s
