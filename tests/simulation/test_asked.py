"""The second half of the judge finds what it is there for, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from models.halt import HaltScope
from models.subscription import RiskSettings
from tests.simulation.asked import OBEYED_NS, Asked, HaltSpan

SECOND = 10**9
NOW_NS = 1_000 * SECOND


def signal(target: float, second: int = 0, *, symbol: str = "EURUSD", kind: str = "adjust") -> dict[str, Any]:
    """A valid signal of a moment."""
    return {
        "kind": kind,
        "target_fraction": target or None,
        "symbol": symbol,
        "strategy": "alpha@1",
        "bar_close_ms": second,
        "user_id": "u",
        "account_id": "a",
        "tenant_id": "t",
        "generated_ns": NOW_NS + second * SECOND,
        "projected_ns": NOW_NS + second * SECOND,
        "lineage": {"model": "ridge", "version": "1"},
    }


def said(
    *signals: dict[str, Any], risk: RiskSettings | None = None, halts: tuple[HaltSpan, ...] = ()
) -> list[str]:
    """What is wrong with these, by its first word."""
    asked = Asked({"u": risk or RiskSettings()}, halts)
    return [complaint.partition(":")[0] for body in signals for complaint in asked.take(body)]


def test_a_turn_without_a_close() -> None:
    """With one it is in order; an abstain leaves the position as it is."""
    assert said(signal(0.5), signal(-0.5)) == ["turned"]
    assert said(signal(0.5), signal(0, kind="close"), signal(-0.5)) == []
    assert said(signal(0.5), signal(0, kind="abstain"), signal(-0.5)) == ["turned"]


def test_more_than_a_minute_allows() -> None:
    """The oldest leaves after sixty seconds; abstains do not count."""
    limit = RiskSettings(max_signals_per_minute=2)

    assert said(*(signal(0.1, second) for second in (0, 10, 59)), risk=limit) == ["crowded"]
    assert said(*(signal(0.1, second) for second in (0, 10, 60)), risk=limit) == []
    assert said(signal(0.1), signal(0.1), signal(0, kind="abstain"), risk=limit) == []


def test_more_than_the_exposure_allows() -> None:
    """Over all symbols, by size."""
    limit = RiskSettings(max_exposure=0.5)

    assert said(signal(0.3), signal(-0.3, symbol="NZDUSD"), risk=limit) == ["exposed"]
    assert said(signal(0.3), signal(-0.2, symbol="NZDUSD"), risk=limit) == []


@pytest.mark.parametrize(
    ("scope", "halted", "heard"),
    [
        (HaltScope.ALL, "*", True),
        (HaltScope.USER, "u", True),
        (HaltScope.TENANT, "t", True),
        (HaltScope.STRATEGY, "alpha@1", True),
        (HaltScope.MODEL, "ridge@1", True),
        (HaltScope.MODEL, "ridge@2", False),
        (HaltScope.USER, "v", False),
    ],
)
def test_what_is_asked_though_it_is_halted(scope: HaltScope, halted: str, *, heard: bool) -> None:
    """From a while after the halt until it ends."""
    halt = HaltSpan(scope, halted, NOW_NS, NOW_NS + 10 * SECOND)
    first = OBEYED_NS // SECOND + 1

    assert said(signal(0.1, first), halts=(halt,)) == (["heedless"] if heard else [])
    assert said(signal(0.1, 0), signal(0.1, 10), halts=(halt,)) == []
    assert said(signal(0, first, kind="abstain"), halts=(halt,)) == []
