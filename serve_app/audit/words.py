"""The ledger and a signal, said in words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from signals.ledger import Findings


def ledger_lines(findings: Findings) -> list[str]:
    """The ledger as people read it: the sum first, then what must be zero, then examples of what was not."""
    settled = f"{findings.delivered} delivered + {findings.undelivered} undelivered + {findings.lost} lost"
    availability = "-" if findings.availability is None else f"{findings.availability:.4%}"
    counts = ", ".join(f"{count} {name}" for name, count in findings.must_be_zero().items())
    return [
        f"owed {findings.expected} = {settled}",
        f"availability {availability}: the share of what was due that was in the log in time",
        *_why_undelivered(findings),
        f"of the delivered, {findings.abstained} say why there is no forecast or no edge (abstain)",
        f"dropped by the reader's rules: {findings.duplicated_raw} repeats, {findings.void} of fenced owners",
        f"in the log in time, but read by this reader too late to act: {findings.read_late}",
        f"must be zero: {counts}",
        *(f"  ! {example}" for example in findings.examples),
        "LEDGER CLEAN" if findings.clean else "LEDGER NOT CLEAN",
    ]


def _why_undelivered(findings: Findings) -> list[str]:
    why = ", ".join(f"{count} {reason}" for reason, count in sorted(findings.undelivered_by_reason.items()))
    return [f"recorded as undelivered because: {why}"] if why else []


def signal_lines(body: dict[str, Any]) -> list[str]:
    """One signal explained: what to do, on what ground, who computed it, and until when it holds."""
    close = datetime.fromtimestamp(body["bar_close_ms"] / 1000, UTC)
    hold_ms = (body["expires_ns"] - body["generated_ns"]) / 1e6
    return [
        f"signal {body['signal_id']}, number {body['sequence']} for user {body['user_id']}:",
        f"  {body['strategy']} on {body['symbol']} says {_action(body)}",
        f"  at the {body['bar_ms'] // 1000} s bar that closed {close:%Y-%m-%d %H:%M:%S} market time",
        f"  because {body['reason']}; risk scale {body['risk']['scale']}, tier {body['risk']['tier']}",
        *(_forecast_lines(body["forecast"], body["horizon_ms"]) if body.get("forecast") else ()),
        *(_lineage_lines(body["lineage"]) if body.get("lineage") else ()),
        f"  nobody may act on it later than {hold_ms:.0f} ms after it was generated",
    ]


def _action(body: dict[str, Any]) -> str:
    if body["kind"] == "abstain":
        return "abstain"
    if body["kind"] == "close":
        return "hold nothing"
    side = "long" if body["direction"] > 0 else "short"
    return f"hold {body['target_fraction']:+.3f} of the limit ({side})"


def _forecast_lines(forecast: dict[str, Any], horizon_ms: int) -> list[str]:
    median, low, high = (10_000 * forecast[name] for name in ("q50", "lower", "upper"))
    return [
        (
            f"  forecast over {horizon_ms // 1000} s: median {median:+.2f} basis points, up with probability "
            f"{forecast['prob_up']:.3f}"
        ),
        f"  {forecast['level']:.0%} interval {low:+.2f} to {high:+.2f} basis points",
    ]


def _lineage_lines(lineage: dict[str, Any]) -> list[str]:
    members = ", ".join(f"{name} {weight:.2f}" for name, weight in lineage.get("members", {}).items())
    return [
        (
            f"  by {lineage['model']}@{lineage['version']}, artefact {lineage['artifact_sha256'][:12]}, "
            f"in {lineage['inference_us']} us on replica {lineage['replica']}"
        ),
        *([f"  an ensemble of {members}"] if members else []),
        f"  decision {lineage['decision_id']}: see `hub explain`",
    ]
