"""`hub.predictions` as the ledger reads it: one winning record per slot, and what it says of itself."""

from __future__ import annotations

from typing import Any

from signals.ledger.findings import Findings
from signals.ledger.ids import signal_id
from signals.ledger.records import LogEntry, SlotKey, decoded, origin_of, slot_of, unreadable


class PredictionLog:
    """The winning record of each slot in `hub.predictions`: the first valid one."""

    def __init__(self, findings: Findings | None = None) -> None:
        self.winners: dict[SlotKey, LogEntry] = {}
        self.places: dict[SlotKey, tuple[int, int]] = {}
        self.origins: dict[SlotKey, bytes] = {}
        self.skipped = 0
        self._findings = findings or Findings()
        self._claim: dict[int, int] = {}

    def take(self, entry: LogEntry) -> dict[str, Any] | None:
        """The parsed record if it is the winner of its slot, else None."""
        if entry.key == b"~claim":
            self._claim[entry.partition] = entry.offset
            return None
        if entry.value is None or entry.key.startswith(b"~"):
            return None
        body = decoded(entry, self._findings)
        if body is None or body.get("epoch") != self._claim.get(entry.partition):
            return None
        try:
            return self._won(entry, slot_of(body["slot"]), body)
        except (KeyError, TypeError) as error:
            unreadable(entry, self._findings, f"is no prediction: {error!r}")
            return None

    def _won(self, entry: LogEntry, slot: SlotKey, body: dict[str, Any]) -> dict[str, Any] | None:
        if slot in self.winners:
            return None
        if body["slot"]["signal_id"] != signal_id(slot):
            self._findings.forged += 1
            self._findings.note(f"prediction {entry.partition}/{entry.offset} bears the id of another slot")
            return None
        self.winners[slot] = entry
        self.places[slot] = (entry.partition, entry.offset)
        self.origins[slot] = origin_of(body)
        self.skipped += body["kind"] == "skipped"
        return body
