"""The demo's report: the ledger and the figures as flat JSON."""

from __future__ import annotations

from typing import Any, Final

_COUNTS: Final = (
    "ticks",
    "slots_due",
    "predictions",
    "expected",
    "delivered",
    "abstained",
    "undelivered",
    "lost",
    "duplicated",
    "duplicated_raw",
    "reordered",
    "expired",
    "misdelivered",
    "wrong_partition",
)


def report_of(ledger: dict[str, Any], began_ns: int) -> dict[str, Any]:
    """`first_signal_s` counts from the start of the command; None if no signal was read."""
    first_ns = ledger["first_signal_ns"]
    return {
        **{name: ledger[name] for name in _COUNTS},
        "tick_to_ack_ms": ledger["tick_to_ack_ms"],
        "picks": ledger["picks"],
        "first_signal_s": round((first_ns - began_ns) / 1e9, 3) if first_ns else None,
    }
