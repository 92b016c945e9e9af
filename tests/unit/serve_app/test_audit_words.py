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


LINEAGE = {
    "model": "blend",
    "version": "1",
    "artifact_sha256": "a" * 64,
    "replica": "ensemble-1",
    "decision_id": "d",
    "inference_us": 2500,
}


@pytest.mark.parametrize(
    ("members", "says"),
    [({"ridge@1": 0.75, "mlp@2": 0.25}, ["  an ensemble of ridge@1 0.75, mlp@2 0.25"]), ({}, []), (None, [])],
)
def test_an_ensembles_members_are_told_with_their_weights(
    members: dict[str, float] | None, says: list[str]
) -> None:
    """Of any other model there is nothing to tell."""
    lineage = LINEAGE | ({} if members is None else {"members": members})
    signal = {**BODY, "kind": "abstain", "direction": 0, "target_fraction": None, "lineage": lineage}

    assert [line for line in signal_lines(signal) if "an ensemble" in line] == says


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
