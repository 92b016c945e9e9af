"""Records as the ledger takes them, and what it keeps of each."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from signals.ledger.findings import Findings


class SlotKey(NamedTuple):
    """Identity of a due slot."""

    strategy: str
    symbol: str
    horizon_ms: int
    bar_close_ms: int


class LogEntry(NamedTuple):
    """One raw record of any topic; `timestamp_ms` is the broker's."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes
    value: bytes | None


class Delivery(NamedTuple):
    """A record that passed the rules: when the log had it, and when a reader took it to act on.

    `acted_ns` is None for a reader that came too late to act. The promise is about the log: a slow reader
    drops what expired, but that is not the hub's loss. `origin` is what it says of its prediction.
    """

    slot: SlotKey
    user_id: str
    account_id: str
    partition: int
    source: tuple[int, int]
    kind: str
    expires_ns: int
    logged_ns: int
    acted_ns: int | None
    tenant_id: str = ""
    origin: bytes = b""


def slot_of(body: dict[str, Any]) -> SlotKey:
    """The slot that a record names."""
    return SlotKey(body["strategy"], body["symbol"], body["horizon_ms"], body["bar_close_ms"])


def origin_of(body: dict[str, Any]) -> bytes:
    """What a signal must have taken from its prediction unchanged, in one form for both."""
    shared = [body.get(name) for name in _SHARED]
    return orjson.dumps(shared, option=orjson.OPT_SORT_KEYS)


def decoded(entry: LogEntry, findings: Findings) -> dict[str, Any] | None:
    """The JSON object of a record; None, noted as undecodable, if it holds none."""
    try:
        body = orjson.loads(entry.value or b"")
    except orjson.JSONDecodeError:
        body = None
    if isinstance(body, dict):
        return body
    unreadable(entry, findings, "is no JSON object")
    return None


def unreadable(entry: LogEntry, findings: Findings, why: str) -> None:
    """Count a record that no reader can read."""
    findings.undecodable += 1
    findings.note(f"record {entry.partition}/{entry.offset} with key {entry.key!r} {why}")


_SHARED = (
    "asof_ms",
    "generated_ns",
    "expires_ns",
    "forecast",
    "reference",
    "lineage",
    "traceparent",
)
