"""The independent judge of a simulated run: reads the raw logs and applies the product's promise, by itself.

It shares no rule with the code it judges. What a user was owed follows from the slots that came due and from
the subscriptions; a record counts iff it names the latest claim before it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import orjson

from messaging.ports import LogRecord
from models.subscription import RiskSettings
from tests.simulation.asked import Asked, HaltSpan
from tests.simulation.entitling import Entitled, entitled

Slot = tuple[str, str, int]
"""Strategy, symbol, bar close."""
Account = tuple[str, str]
GRACE_MS = 1000


@dataclass
class Verdict:
    """Counts of a run and every complaint; clean if there is none."""

    owed: int = 0
    delivered: int = 0
    undelivered: int = 0
    asked: int = 0
    void: int = 0
    repeated: int = 0
    claims: int = 0
    complaints: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not self.complaints

    def counts(self) -> dict[str, int]:
        """Everything that is a number."""
        return {name: value for name, value in vars(self).items() if isinstance(value, int)}


@dataclass(frozen=True)
class Evidence:
    """The raw logs by partition, what came due, and when which process got an accepted probe (None where that
    was not watched). `limits` are those of each user, `halts` what was halted when, `state` the checkpoints
    and marks, `entitlements` what was written of them.
    """

    predictions: Mapping[int, Sequence[LogRecord]]
    signals: Mapping[int, Sequence[LogRecord]]
    subscriptions: Sequence[tuple[int, Account, str, str, bool]]
    due: Iterable[Slot]
    probes: Mapping[tuple[str, int], Sequence[int]] | None
    partition_of: Callable[[str], int]
    calm_from_ns: int
    limits: Mapping[str, RiskSettings] = field(default_factory=dict)
    halts: Sequence[HaltSpan] = ()
    state: Mapping[int, Sequence[LogRecord]] = field(default_factory=dict)
    entitlements: Sequence[Entitled] = ()


def judge(evidence: Evidence) -> Verdict:
    """Hold what everybody was owed against what is in the logs."""
    verdict = Verdict()
    winners = _winners(evidence.predictions)
    made = _made(evidence.predictions) if evidence.entitlements else {}
    reader = _Reader(evidence, verdict)
    for partition, records in evidence.signals.items():
        reader.read(partition, records)
        _check_claims(evidence, partition, records, verdict)
    for slot in evidence.due:
        if slot in winners:
            _settle(slot, winners[slot], reader, evidence=evidence, made_ns=made.get(slot, 0))
        else:
            verdict.complaints.append(f"forgotten: {slot} has no valid prediction record")
    for slot in {slot for slot, _ in reader.accepted} - set(evidence.due):
        verdict.complaints.append(f"phantom: {slot} was never due")
    return verdict


def _winners(predictions: Mapping[int, Sequence[LogRecord]]) -> dict[Slot, int]:
    """Broker time of the first valid record of each slot."""
    winners: dict[Slot, int] = {}
    for records in predictions.values():
        for record, body in _valid(records):
            if "slot" in body:
                winners.setdefault(_slot(body["slot"]), record.timestamp_ms)
    return winners


def _made(predictions: Mapping[int, Sequence[LogRecord]]) -> dict[Slot, int]:
    """When the forecaster made the first valid record of each slot, which may be long before it landed."""
    made: dict[Slot, int] = {}
    for records in predictions.values():
        for _, body in _valid(records):
            if "slot" in body:
                made.setdefault(_slot(body["slot"]), body["generated_ns"])
    return made


def _valid(records: Sequence[LogRecord]) -> Iterable[tuple[LogRecord, dict[str, Any]]]:
    claim = None
    for record in records:
        if record.key == b"~claim":
            claim = record.offset
        elif (body := orjson.loads(record.value or b"{}")).get("epoch") == claim:
            yield record, body


class _Reader:
    """What readers of `user.signals` end up with."""

    def __init__(self, evidence: Evidence, verdict: Verdict) -> None:
        self.accepted: dict[tuple[Slot, Account], bool] = {}
        self.undelivered: set[tuple[Slot, int]] = set()
        self._evidence = evidence
        self.verdict = verdict
        self._sequence: dict[str, int] = {}
        self._close: dict[tuple[Account, str, str], int] = defaultdict(int)
        self._places: set[tuple[str, int, int]] = set()
        self._asked = Asked(evidence.limits, evidence.halts)

    def read(self, partition: int, records: Sequence[LogRecord]) -> None:
        valid = list(_valid(records))
        self.verdict.void += sum(not r.key.startswith(b"~claim") for r in records) - len(valid)
        self._asked = Asked(self._evidence.limits, self._evidence.halts)
        for record, body in valid:
            if record.key == b"~undelivered":
                self.undelivered.add((_slot(body), partition))
            elif not record.key.startswith(b"~"):
                self._take(partition, record, body)
        self._check_marks(self._evidence.state.get(partition, ()))

    def _check_marks(self, state: Sequence[LogRecord]) -> None:
        """A mark names the very place where the user's signal with that sequence lies."""
        for record in state:
            if record.key.startswith(b"~mark:"):
                mark = orjson.loads(record.value or b"")
                if (mark["user_id"], mark["sequence"], mark["offset"]) not in self._places:
                    self._complain(f"astray: a mark says {mark}")

    def _take(self, partition: int, record: LogRecord, body: dict[str, Any]) -> None:
        user, slot, place = body["user_id"], _slot(body), f"{partition}/{record.offset}"
        if record.key.decode() != user or self._evidence.partition_of(user) != partition:
            self._complain(f"misdelivered: {place} with key {record.key!r} is for {user}")
        self._places.add((user, body["sequence"], record.offset))
        last = self._sequence.get(user, 0)
        if body["sequence"] <= last:
            self.verdict.repeated += 1
            if (slot, (user, body["account_id"])) not in self.accepted:
                self._complain(f"swallowed: {place} repeats sequence {last} of {user} for {slot}")
            return
        if body["sequence"] != last + 1:
            self._complain(f"gap: {place} has sequence {body['sequence']} of {user} after {last}")
        self._sequence[user] = body["sequence"]
        self.verdict.asked += body["kind"] != "abstain"
        self.verdict.complaints += self._asked.take(body)
        self._accept(slot, (user, body["account_id"]), record, body)

    def _accept(self, slot: Slot, account: Account, record: LogRecord, body: dict[str, Any]) -> None:
        if (slot, account) in self.accepted:
            self._complain(f"doubled: {slot} for {account} at offset {record.offset}")
        strategy, symbol, close = slot
        if close < self._close[account, strategy, symbol]:
            self._complain(f"swapped: {slot} reached {account} after a later one")
        self._close[account, strategy, symbol] = max(close, self._close[account, strategy, symbol])
        self.accepted[slot, account] = record.timestamp_ms * 1_000_000 < body["expires_ns"]

    def _complain(self, text: str) -> None:
        self.verdict.complaints.append(text)


def _settle(slot: Slot, predicted_ms: int, reader: _Reader, *, evidence: Evidence, made_ns: int) -> None:
    verdict = reader.verdict
    must, may = _subscribed(evidence.subscriptions, slot, predicted_ms)
    if evidence.entitlements:
        span_ms = (predicted_ms - GRACE_MS, predicted_ms + GRACE_MS)
        must, may = entitled(evidence.entitlements, must, may, span_ms=span_ms, made_ns=made_ns)
    for account in must:
        verdict.owed += 1
        if reader.accepted.get((slot, account)):
            verdict.delivered += 1
        elif (slot, evidence.partition_of(account[0])) in reader.undelivered:
            verdict.undelivered += 1
        else:
            late = " in time" if (slot, account) in reader.accepted else ""
            verdict.complaints.append(f"lost: {slot} never reached {account}{late}")
    for found, account in reader.accepted:
        if found == slot and account not in must | may:
            verdict.complaints.append(f"misdelivered: {slot} reached {account}, who had not subscribed")


def _subscribed(
    history: Sequence[tuple[int, Account, str, str, bool]], slot: Slot, at_ms: int
) -> tuple[set[Account], set[Account]]:
    """Who must get the slot, and who may because of a change close to it."""
    states: dict[Account, list[bool]] = {}
    for when_ms, account, strategy, symbol, on in history:
        if (strategy, symbol) == slot[:2] and when_ms <= at_ms + GRACE_MS:
            known = states.setdefault(account, [False])
            states[account] = [on] if when_ms < at_ms - GRACE_MS else [*known, on]
    must = {account for account, seen in states.items() if all(seen)}
    return must, {account for account, seen in states.items() if any(seen)} - must


def _check_claims(evidence: Evidence, partition: int, records: Sequence[LogRecord], verdict: Verdict) -> None:
    """Each claim needs an accepted probe since its writer's claim before; in the calm there are none."""
    made: dict[str, list[int]] = defaultdict(list)
    for record in records:
        if record.key == b"~claim":
            claim = orjson.loads(record.value or b"")
            made[claim["owner"]].append(claim["claimed_ns"])
            if record.timestamp_ms * 1_000_000 >= evidence.calm_from_ns:
                verdict.complaints.append(f"restless: {claim['owner']} claimed {partition} when all was calm")
    verdict.claims += sum(map(len, made.values()))
    if evidence.probes is None:
        return
    for owner, claimed in made.items():
        probes = evidence.probes.get((owner, partition), ())
        for before, at_ns in pairwise([-1, *sorted(set(claimed))]):
            if not any(before < probe <= at_ns for probe in probes):
                verdict.complaints.append(f"usurped: {owner} claimed {partition} without an accepted probe")


def _slot(body: Mapping[str, Any]) -> Slot:
    return body["strategy"], body["symbol"], body["bar_close_ms"]
