"""How long records are kept: by calendar, by the longest rule that holds, and never by a number of days."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from messaging.topics import TOPICS, USER_EVENTS
from models.errors import ConfigError
from models.retention import ClockStart, Extension, RetentionRule, Storage, load_retention, years_later
from serve_app.commands.topics import NOT_ADVICE, app

SHIPPED = Path(__file__).parents[3] / "config" / "retention.yaml"
DAYS = st.dates(date(1990, 1, 1), date(2100, 12, 31))


def rule(**facts: Any) -> RetentionRule:
    """A rule of five years."""
    given_facts: dict[str, Any] = {
        "rule": "test",
        "jurisdiction": "EU",
        "record_class": "orders",
        "topics": ("user.commands",),
        "years": 5,
        "starts": ClockStart.CREATION,
        "storage": Storage.NONE,
        "source": "a law",
        "reviewed": date(2026, 11, 21),
    }
    return RetentionRule(**given_facts | facts)


def test_a_span_of_seven_years_has_the_days_the_calendar_gives_it() -> None:
    """2557 with two leap days, 2556 with one: no number of milliseconds is right for both."""
    assert (years_later(date(2020, 1, 1), 7) - date(2020, 1, 1)).days == 2557
    assert (years_later(date(2021, 1, 1), 7) - date(2021, 1, 1)).days == 2556


def test_the_29th_of_february_ends_on_the_first_of_march() -> None:
    """A day that a year does not have is not a day early."""
    assert rule().delete_from(date(2024, 2, 29)) == date(2029, 3, 1)
    assert rule(years=4).delete_from(date(2024, 2, 29)) == date(2028, 2, 29)


@given(DAYS, st.integers(1, 30))
def test_a_period_is_never_shorter_than_its_years(day: date, years: int) -> None:
    """And less than two days longer."""
    due = rule(years=years).delete_from(day)
    whole = timedelta(days=int(years * 365.25))

    assert due.year == day.year + years
    assert abs((due - day) - whole) <= timedelta(days=2)
    assert (due.month, due.day) >= (day.month, day.day)


def test_a_clock_that_starts_at_the_years_end_counts_from_there() -> None:
    """Everything of one year may be deleted on the same new year's day."""
    books = rule(years=10, starts=ClockStart.YEAR_END)

    assert books.delete_from(date(2026, 1, 1)) == books.delete_from(date(2026, 12, 31)) == date(2037, 1, 1)


def test_a_hold_extends_and_never_shortens() -> None:
    """If the rule knows holds at all."""
    held = rule(extensions=(Extension.LEGAL_HOLD,))
    begun, later, sooner = date(2026, 3, 1), date(2033, 5, 5), date(2027, 1, 1)

    assert held.delete_from(begun, holds=[later, sooner]) == later
    assert held.delete_from(begun, holds=[sooner]) == date(2031, 3, 1)
    assert rule().delete_from(begun, holds=[later]) == date(2031, 3, 1)


def test_the_shipped_policy_is_about_topics_that_there_are() -> None:
    """No rule names a topic by mistake, and each that is law says where it is written."""
    policy = load_retention(SHIPPED.read_text())
    topics = {topic.name for topic in TOPICS}

    for one in policy.rules:
        assert set(one.topics) <= topics
        assert one.source is None or one.url


def test_orders_are_kept_for_five_years_unless_a_longer_rule_holds() -> None:
    """The default profile, and the one of a broker-dealer."""
    text = SHIPPED.read_text()
    default = load_retention(text)
    dealer = load_retention(text.replace("profile: [", "profile: [sec-17a-4-a-ledgers, "))

    orders, trades = default.rule_for("user.commands"), dealer.rule_for("user.trades")
    assert orders is not None
    assert (orders.rule, orders.years) == ("mifir-25-orders", 5)
    assert trades is not None
    assert (trades.rule, trades.years) == ("sec-17a-4-a-ledgers", 6)
    assert default.rule_for("user.mt5_status") is None


@pytest.mark.parametrize(
    ("found", "put"),
    [
        ("profile: [mifir", "profile: [never-heard-of, mifir"),
        ("years: 5", "years: 0"),
        ("starts: creation", "starts: whenever"),
        ("- rule: rts6-28-hft-orders", "- rule: mifir-25-orders"),
        ("years: 5", "retention_ms: 220903200000"),
    ],
)
def test_a_policy_that_says_nothing_clear_is_refused(found: str, put: str) -> None:
    """Unknown and doubled names, no years, and milliseconds."""
    text = SHIPPED.read_text()
    assert found in text
    with pytest.raises(ConfigError):
        load_retention(text.replace(found, put, 1))


def test_the_command_prints_every_topic_with_its_rule_and_claims_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The hot period, the rule, the day, the source; and that it is no advice."""
    monkeypatch.setenv("COLUMNS", "250")
    shown = CliRunner().invoke(app, ["retention", "--event", "2024-02-29"])

    assert shown.exit_code == 0, shown.output
    for topic in USER_EVENTS:
        assert topic.name in shown.output
    for part in ("mifir-25-orders", "2029-03-01", "90 days", "last of each key", "MiFIR", NOT_ADVICE):
        assert part in shown.output
    assert "complian" not in shown.output.lower()
