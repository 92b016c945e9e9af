"""What a user's limits leave: quiet hours, blocked symbols, exposure, how often; and closing first."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.prediction import Prediction
from models.signal import Kind, Source
from models.strategy import TargetFractionPolicy
from models.subscription import QuietHours, RiskSettings, Subscription
from signals.book import Subscriber
from signals.encoding import Body
from signals.halts import Halts
from signals.holdings import Asked, Holdings, account_key
from signals.policy import toward
from signals.projection import Case, Projected, project
from signals.terms import Terms
from tests.unit.signals.records import NOW_NS, prediction, slot, subscription

SECOND = 10**9
SOURCE = Source(partition=0, offset=1, epoch=0)
POLICY = TargetFractionPolicy()
ACCOUNT = account_key("user-1", "main")


def subscriber(**risk: Any) -> Subscriber:
    """One with these settings."""
    one: Subscription = subscription("user-1", "main")
    return Subscriber.of(one.model_copy(update={"risk": RiskSettings(**risk)}))


def owed(at_ns: int = NOW_NS, symbol: str = "EURUSD") -> Prediction:
    """A prediction of a moment."""
    return prediction(slot(symbol=symbol)).model_copy(update={"generated_ns": at_ns})


def case(one: Subscriber, holdings: Holdings | None = None, *, at_ns: int = NOW_NS) -> Case:
    """The subscriber's case without halts."""
    return Terms(owed(at_ns), holdings=holdings or Holdings(), halts=Halts()).case(one)


def projected(one: Subscriber, holdings: Holdings, target: float, *, at_ns: int = NOW_NS) -> Projected:
    """What becomes of a wish for `target`."""
    return project(toward(target, "edge"), case(one, holdings, at_ns=at_ns))


def held(**targets: float) -> Holdings:
    """The account holds these."""
    holdings = Holdings()
    for symbol, target in targets.items():
        holdings.ask(Asked(symbol, {ACCOUNT: target}), NOW_NS)
    return holdings


def at(text: str) -> int:
    """Nanoseconds of a UTC time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


NIGHT = QuietHours(start=time(22), end=time(6), days=frozenset({4}))  # from Friday evening
NOON = QuietHours(start=time(12), end=time(13))


@pytest.mark.parametrize(
    ("hours", "moment", "quiet"),
    [
        (NOON, "2026-11-20T12:00:00", True),
        (NOON, "2026-11-20T12:59:59", True),
        (NOON, "2026-11-20T13:00:00", False),
        (NIGHT, "2026-11-20T22:00:00", True),
        (NIGHT, "2026-11-21T05:59:59", True),
        (NIGHT, "2026-11-21T06:00:00", False),
        (NIGHT, "2026-11-21T22:00:00", False),
        (NIGHT, "2026-11-20T05:00:00", False),
    ],
)
def test_in_quiet_hours_nothing_is_asked(hours: QuietHours, moment: str, *, quiet: bool) -> None:
    """In UTC, by the weekday on which they begin."""
    result = projected(subscriber(quiet_hours=[hours]), Holdings(), 0.5, at_ns=at(moment))

    assert (result.action.kind is Kind.ABSTAIN) == quiet
    assert result.limits_hit == (("quiet_hours",) if quiet else ())


@pytest.mark.parametrize(
    "wrong", [{"start": "09:00", "end": "09:00"}, {"start": "09:00Z", "end": "10:00"}, {"start": "x"}]
)
def test_hours_that_are_none_are_refused(wrong: dict[str, str]) -> None:
    """A typing error must not leave a user without quiet hours."""
    with pytest.raises(ValidationError):
        QuietHours.model_validate(wrong)


def test_a_blocked_symbol_is_never_asked_for() -> None:
    """The signal says who blocked it."""
    result = projected(subscriber(blocked_symbols={"EURUSD"}), Holdings(), 0.5)

    assert result.limits_hit == ("blocked_symbols",)
    assert result.action.reason == "edge; the user has blocked EURUSD"


def test_the_exposure_of_other_symbols_leaves_less_for_this_one() -> None:
    """0.5 and 0.2 are held, of 1.0: 0.3 are left, whatever the direction."""
    result = projected(subscriber(max_exposure=1.0), held(GBPUSD=0.5, USDJPY=-0.2, EURUSD=-0.9), -0.8)

    assert result.action.target_fraction == pytest.approx(-0.3)
    assert result.limits_hit == ("max_exposure",)


def test_a_used_up_exposure_asks_for_nothing() -> None:
    """And names the limit."""
    result = projected(subscriber(max_exposure=0.4), held(GBPUSD=0.5), 0.8)

    assert (result.action.kind, result.limits_hit) == (Kind.ABSTAIN, ("max_exposure",))


def test_the_other_side_is_closed_first() -> None:
    """Long to short goes by way of nothing; the next slot may open."""
    holdings = held(EURUSD=0.4)
    first = projected(subscriber(), holdings, -0.2)
    holdings.ask(Asked("EURUSD", {ACCOUNT: first.holds or 0.0}), NOW_NS)
    second = projected(subscriber(), holdings, -0.2)

    assert (first.action.kind, first.action.direction, first.limits_hit) == (Kind.CLOSE, 0, ("close_first",))
    assert (second.action.kind, second.action.target_fraction) == (Kind.ADJUST, -0.2)


def test_so_many_signals_a_minute_ask_for_something() -> None:
    """Abstains do not count, and the oldest leaves after sixty seconds."""
    one, holdings = subscriber(max_signals_per_minute=2), Holdings()
    kinds = []
    for second in (0, 10, 20, 59, 60, 61, 70):
        now_ns = NOW_NS + second * SECOND
        result = projected(one, holdings, 0.5, at_ns=now_ns)
        kinds.append(result.action.kind)
        if result.holds is not None and one.limits and one.limits.rate:
            holdings.ask(Asked("EURUSD", {ACCOUNT: result.holds}, [one.limits.rate]), now_ns)

    adjust, abstain = Kind.ADJUST, Kind.ABSTAIN
    assert kinds == [adjust, adjust, abstain, abstain, adjust, abstain, adjust]


def test_who_has_no_limits_shares_a_case_with_all_others() -> None:
    """A lookup per user, not a projection."""
    one, other = subscriber(scale=2.0), subscriber(scale=2.0)

    assert case(one) is case(other) is one.cases.flat
    assert case(one, held(EURUSD=0.1)) is one.cases.long
    assert case(one, held(EURUSD=-0.1)) is one.cases.short
    assert case(one, held(EURUSD=0.0, GBPUSD=1.0)) is one.cases.flat


def test_a_limit_in_force_is_in_the_signal() -> None:
    """A reader that restores the holdings finds what to count."""
    one = subscriber(max_signals_per_minute=7)
    body = Body(prediction(), source=SOURCE, policy=POLICY)

    assert b'"per_minute":7' in body.outcome(case(one)).ending
    assert b"per_minute" not in body.outcome(case(subscriber())).ending


class TestHoldings:
    """What was asked, below and above the log's end."""

    def test_a_view_counts_what_is_not_in_the_log_yet(self) -> None:
        """And leaves what it looks at as it was."""
        below = held(EURUSD=0.5, GBPUSD=0.1)
        view = below.above()
        view.ask(Asked("EURUSD", {ACCOUNT: 0.0, "other": 0.3}, [("s", 2)]), 7)

        assert (view.holder("EURUSD")(ACCOUNT), view.holder("EURUSD")("other")) == (0.0, 0.3)
        assert view.exposure(ACCOUNT, besides="USDJPY") == pytest.approx(0.1)
        assert below.held == {"EURUSD": {ACCOUNT: 0.5}, "GBPUSD": {ACCOUNT: 0.1}}
        assert below.acted == {}

    @given(
        st.lists(
            st.tuples(
                st.sampled_from("abc"),
                st.sampled_from("XY"),
                st.sampled_from((-0.5, 0.0, 0.5)),
                st.booleans(),
            ),
            max_size=40,
        )
    )
    def test_what_is_restored_answers_like_the_original(
        self, asked: list[tuple[str, str, float, bool]]
    ) -> None:
        """A checkpoint loses nothing that decides."""
        first = Holdings()
        for moment, (account, symbol, target, limited) in enumerate(asked):
            first.ask(Asked(symbol, {account: target}, [(account, 3)] if limited else []), moment)
        again = Holdings.restored(first.held, first.acted)

        for account in "abc":
            for symbol in "XY":
                assert (again.holder(symbol)(account) or 0.0) == (first.holder(symbol)(account) or 0.0)
            assert again.full_at(account, 3, 40) == first.full_at(account, 3, 40)
            assert again.exposure(account, besides="X") == first.exposure(account, besides="X")
