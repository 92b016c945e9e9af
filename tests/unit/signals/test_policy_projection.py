"""From a forecast to a target, and from a target to what a user's own bounds leave of it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.principal import Tier
from models.signal import Kind
from models.strategy import TargetFractionPolicy
from signals.book import Book
from signals.policy import Action, abstain, action, action_for, toward
from signals.projection import Bounds, Case, project
from tests.unit.signals.records import NOW_NS, TTL_NS, forecast, skipped, subscription

POLICY = TargetFractionPolicy(gain=4.0, min_edge=0.02)
fractions = st.floats(min_value=-1, max_value=1, allow_nan=False)


def holds(chosen: Action) -> bool:
    """The invariant of every action: sign, direction and kind agree."""
    target = chosen.target_fraction or 0.0
    sign = (target > 0) - (target < 0)
    return sign == chosen.direction and (sign == 0) == (chosen.kind is Kind.ABSTAIN) and abs(target) <= 1


def test_the_target_is_the_median_in_units_of_the_interval_times_the_gain() -> None:
    """4 x 1e-5 / 2e-4 = 0.2, upwards."""
    chosen = action(POLICY, forecast(1e-5, half_width=1e-4))

    assert chosen.target_fraction == pytest.approx(0.2)
    assert (chosen.kind, chosen.direction) == (Kind.ADJUST, 1)


def test_a_large_edge_is_clipped_to_the_whole_account() -> None:
    """A target never exceeds what an account can hold, in either direction."""
    assert action(POLICY, forecast(-1e-2)).target_fraction == -1.0


def test_an_edge_below_the_minimum_abstains_and_says_so() -> None:
    """A slot without an action still has a reason."""
    chosen = action(POLICY, forecast(1e-7))

    assert chosen.kind is Kind.ABSTAIN
    assert "below min_edge 0.02" in chosen.reason


@pytest.mark.parametrize("half_width", [0.0, math.nan, math.inf, -1.0])
def test_an_interval_without_width_abstains(half_width: float) -> None:
    """No division by nothing, and no action on a broken forecast."""
    assert action(POLICY, forecast(1e-5, half_width=half_width)).kind is Kind.ABSTAIN


def test_a_skipped_slot_abstains_with_its_reason() -> None:
    """Users learn why there is no forecast."""
    chosen = action_for(POLICY, skipped())

    assert chosen.kind is Kind.ABSTAIN
    assert chosen.reason.startswith("no forecast: refused")


@given(st.floats(allow_nan=True, allow_infinity=True), st.floats(min_value=-1, max_value=1))
def test_every_forecast_becomes_a_consistent_action(q50: float, half_width: float) -> None:
    """Sign, direction and kind agree whatever a model answers."""
    assert holds(action(POLICY, forecast(q50, half_width=half_width)))


@given(fractions, st.floats(min_value=0, max_value=10), st.floats(min_value=0, max_value=1))
def test_projection_keeps_the_sign_and_the_users_maximum(
    target: float, scale: float, max_fraction: float
) -> None:
    """A user's settings can shrink or stretch a target, never turn it round or exceed the maximum."""
    projected = project(toward(target, "edge"), Case(Bounds(Tier.PRO, scale, max_fraction)))

    result = projected.action.target_fraction or 0.0
    assert holds(projected.action)
    assert result * target >= 0
    assert abs(result) <= max_fraction
    if projected.limits_hit:
        assert abs(target * scale) > max_fraction


def test_a_user_who_allows_no_position_abstains() -> None:
    """Scale 0 is a valid wish, and its signal says whose it was."""
    projected = project(toward(0.5, "edge"), Case(Bounds(Tier.PRO, 0.0, 1.0)))

    assert projected.action.kind is Kind.ABSTAIN
    assert "risk settings" in projected.action.reason


def test_an_abstain_stays_one_for_everybody() -> None:
    """Risk settings do not touch what asks for nothing."""
    assert project(abstain("quiet"), Case(Bounds(Tier.PRO, 9.0, 1.0))).action == abstain("quiet")


def put(
    book: Book, offset: int, user_id: str, account_id: str = "main", *, entitled_ns: int = 1 << 62
) -> None:
    """Apply one subscription record."""
    one = subscription(user_id, account_id, entitled_until_ns=entitled_ns)
    assert book.apply(one.key(), one.model_dump_json().encode(), offset)


def names(book: Book, *, at_ns: int = NOW_NS) -> list[tuple[str, str]]:
    """Who receives `alpha@1` on EURUSD."""
    found = book.subscribers("alpha@1", "EURUSD", at_ns=at_ns)
    return [(one.user_id, one.account_id) for one in found]


def test_subscribers_come_in_user_and_account_order_whatever_the_log_order() -> None:
    """The order of a batch depends on who is in it, not on when they came."""
    book = Book()
    for offset, (user, account) in enumerate([("u2", "a"), ("u1", "b"), ("u1", "a")]):
        put(book, offset, user, account)

    assert names(book) == [("u1", "a"), ("u1", "b"), ("u2", "a")]
    assert book.offset == 2


def test_a_newer_record_replaces_and_a_tombstone_ends_a_subscription() -> None:
    """The book is the fold of a compacted topic."""
    book = Book()
    put(book, 0, "u1")
    put(book, 1, "u2")
    put(book, 2, "u1")
    assert names(book) == [("u1", "main"), ("u2", "main")]
    assert book.apply(subscription("u2").key(), None, 3)

    assert names(book) == [("u1", "main")]
    assert (len(book), book.offset) == (1, 3)


def test_who_ran_out_of_entitlement_receives_nothing() -> None:
    """Entitlement is judged at the time of the prediction."""
    book = Book()
    put(book, 0, "u1", entitled_ns=NOW_NS + TTL_NS)

    assert names(book, at_ns=NOW_NS + TTL_NS - 1)
    assert not names(book, at_ns=NOW_NS + TTL_NS)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"no json", b"{}"),
        (b'["u","a","s"]', None),
        (b'[[],"a","s","EURUSD"]', None),
        (subscription("u1").key(), b"{}"),
        (subscription("u1").key(), subscription("u2").model_dump_json().encode()),
    ],
)
def test_a_record_that_is_no_subscription_is_refused_and_counted(key: bytes, value: bytes | None) -> None:
    """A forged or broken record changes nothing but the offset."""
    book = Book()
    put(book, 0, "u0")

    assert not book.apply(key, value, 1)
    assert (book.refused, book.offset, names(book)) == (1, 1, [("u0", "main")])
