"""The reader's words for a signal."""

from __future__ import annotations

import pytest

from serve_app.audit.words import signal_lines

BODY = {
    "signal_id": "s",
    "sequence": 7,
    "user_id": "user-1",
    "strategy": "alpha@1",
    "symbol": "EURUSD",
    "bar_ms": 10_000,
    "bar_close_ms": 1_400_000_000_000,
    "horizon_ms": 60_000,
    "generated_ns": 1_000_000_000,
    "expires_ns": 5_000_000_000,
    "reason": "because",
    "risk": {"scale": 1.0, "tier": "pro"},
}


@pytest.mark.parametrize(
    ("signal", "says"),
    [
        ({"kind": "adjust", "direction": -1, "target_fraction": -0.25}, "hold -0.250 of the limit (short)"),
        ({"kind": "abstain", "direction": 0, "target_fraction": None}, "abstain"),
        ({"kind": "close", "direction": 0, "target_fraction": None}, "hold nothing"),
    ],
)
def test_every_kind_has_its_words(signal: dict[str, object], says: str) -> None:
    """A signal without a target is told, too."""
    assert any(says in line for line in signal_lines({**BODY, **signal}))
