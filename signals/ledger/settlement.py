"""What was owed against what was found, slot by slot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from signals.ledger.findings import Findings
from signals.ledger.origins import PredictionLog
from signals.ledger.records import Delivery, SlotKey
from signals.ledger.signal_log import SignalLog
from signals.ledger.subscriptions import SubscriptionLog

_Owner = tuple[str, str]
"""User and account."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """Holds what was owed against what was found, slot by slot.

    `end_ms` (broker time) stands in for the prediction time of slots that were never predicted.
    """

    subscriptions: SubscriptionLog
    predictions: PredictionLog
    signals: SignalLog
    partition_of: Callable[[bytes], int]
    findings: Findings
    end_ms: int

    def settle(self, due: Iterable[SlotKey]) -> Findings:
        """Fill in the findings. Deliveries of slots that were not due are phantoms."""
        found: dict[SlotKey, dict[_Owner, Delivery]] = defaultdict(dict)
        for delivery in self.signals.deliveries:
            found[delivery.slot][delivery.user_id, delivery.account_id] = delivery
        for slot in sorted(set(due)):
            self._settle_slot(slot, found.pop(slot, {}))
        for slot, rest in found.items():
            self.findings.phantom += len(rest)
            self.findings.note(f"{slot} was never due")
        return self.findings

    def _settle_slot(self, slot: SlotKey, here: dict[_Owner, Delivery]) -> None:
        winner = self.predictions.winners.get(slot)
        must, may = self.subscriptions.owed(slot, winner.timestamp_ms if winner else self.end_ms)
        self.findings.expected += len(must) + len(may & here.keys())
        for owner, delivery in here.items():
            if owner in must or owner in may:
                self._settle_present(owner, delivery)
            else:
                self.findings.unsubscribed += 1
                self.findings.note(f"{slot} reached {owner}, who was not subscribed")
        for owner in sorted(must - here.keys()):
            self._settle_absent(slot, owner)

    def _settle_present(self, owner: _Owner, delivery: Delivery) -> None:
        self._check_origin(owner, delivery)
        if delivery.tenant_id not in self.subscriptions.tenants(delivery.slot, owner):
            self.findings.misdelivered += 1
            self.findings.note(f"{delivery.slot} reached {owner} in the name of {delivery.tenant_id!r}")
        if delivery.acted_ns is None and delivery.logged_ns >= delivery.expires_ns:
            self._settle_absent(delivery.slot, owner)
            return
        self.findings.delivered += 1
        self.findings.abstained += delivery.kind == "abstain"
        self.findings.read_late += delivery.acted_ns is None

    def _check_origin(self, owner: _Owner, delivery: Delivery) -> None:
        place = self.predictions.places.get(delivery.slot)
        if place is None:
            self.findings.phantom += 1
            self.findings.note(f"{delivery.slot} reached {owner}, but was never predicted")
        elif delivery.source != place:
            self.findings.forged += 1
            self.findings.note(f"{delivery.slot}: {owner} names {delivery.source}, the log says {place}")
        elif delivery.origin != self.predictions.origins[delivery.slot]:
            self.findings.forged += 1
            self.findings.note(f"{delivery.slot} of {owner} says of its origin what the prediction does not")

    def _settle_absent(self, slot: SlotKey, owner: _Owner) -> None:
        reason = self.signals.undelivered.get((slot, self.partition_of(owner[0].encode())))
        if reason is not None:
            self.findings.undelivered += 1
            by_reason = self.findings.undelivered_by_reason
            by_reason[reason] = by_reason.get(reason, 0) + 1
        else:
            self.findings.lost += 1
            self.findings.note(f"{slot} never reached {owner} in time")
