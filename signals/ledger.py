"""The per-user ledger: what every user was owed, held against what is in the log and what a reader did.

Nobody marks their own homework. What was owed is computed from the tick files, the strategies and the
subscriptions, never from what the hub says it predicted; and the rules of validity are written here a second
time, in their shortest form (a record is valid iff it names the latest claim before it), so that a mistake in
`signals/reader.py` or in the writing rooms cannot hide itself.

    due slots x subscriptions  =  delivered in time  +  recorded undelivered  +  lost
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

ACTING_NS: Final = 20_000_000
"""What a reader needs to act: with less time left it drops the signal, because it would be done too late."""

GRACE_MS: Final = 1000
"""A subscription change this close to a slot's prediction may count or not: both are right."""


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
    drops what expired, but that is not the hub's loss.
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


@dataclass(slots=True)
class Findings:
    """Counts over a run. `*_raw` before the reader's rules, everything else after them."""

    expected: int = 0
    delivered: int = 0
    abstained: int = 0
    undelivered: int = 0
    lost: int = 0
    duplicated: int = 0
    duplicated_raw: int = 0
    reordered: int = 0
    expired: int = 0
    misdelivered: int = 0
    wrong_partition: int = 0
    phantom: int = 0
    void: int = 0
    read_late: int = 0
    undecodable: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing the product promises was broken; undelivered slots are allowed, being recorded."""
        broken = (self.lost, self.duplicated, self.reordered, self.expired, self.misdelivered)
        return not any((*broken, self.wrong_partition, self.phantom, self.undecodable))

    def note(self, what: str) -> None:
        """Keep the first twenty oddities for people."""
        if len(self.examples) < 20:
            self.examples.append(what)


class SignalLog:
    """Reads `user.signals` record by record as any service would, and remembers what it did."""

    def __init__(self, partition_of: Callable[[bytes], int], findings: Findings) -> None:
        self.deliveries: list[Delivery] = []
        self.undelivered: set[tuple[SlotKey, int]] = set()
        self._partition_of = partition_of
        self._findings = findings
        self._claim: dict[int, int] = {}
        self._sequence: dict[str, int] = {}
        self._close: dict[tuple[str, str, str, str, int], int] = {}
        self._raw: Counter[str] = Counter()
        self._accepted: set[str] = set()

    def take(self, entry: LogEntry, now_ns: int) -> Delivery | None:
        """Apply the rules to the next record of its partition; a Delivery if it was addressed to a user."""
        if entry.key == b"~claim":
            self._claim[entry.partition] = entry.offset
            return None
        body = _decoded(entry, self._findings)
        if body is None or entry.key == b"~beat":
            return None
        if body.get("epoch") != self._claim.get(entry.partition):
            self._findings.void += 1
            self._count_raw(body)
            return None
        if entry.key == b"~undelivered":
            self.undelivered.add((_slot_of(body), entry.partition))
            return None
        return self._to_user(entry, body, now_ns)

    def _to_user(self, entry: LogEntry, body: dict[str, Any], now_ns: int) -> Delivery | None:
        self._count_raw(body)
        user = body["user_id"]
        if entry.key != user.encode():
            self._findings.misdelivered += 1
            self._findings.note(f"record {entry.partition}/{entry.offset}: key {entry.key!r}, user {user}")
            return None
        if self._partition_of(entry.key) != entry.partition:
            self._findings.wrong_partition += 1
            self._findings.note(f"user {user} found on partition {entry.partition}")
        if body["sequence"] <= self._sequence.get(user, 0):
            return None
        self._sequence[user] = body["sequence"]
        return self._accept(entry, body, now_ns)

    def _accept(self, entry: LogEntry, body: dict[str, Any], now_ns: int) -> Delivery:
        slot, user, account = _slot_of(body), body["user_id"], body["account_id"]
        if body["delivery_id"] in self._accepted:
            self._findings.duplicated += 1
            self._findings.note(f"delivery {body['delivery_id']} accepted twice")
        self._accepted.add(body["delivery_id"])
        series = (user, account, slot.strategy, slot.symbol, slot.horizon_ms)
        if slot.bar_close_ms < self._close.get(series, 0):
            self._findings.reordered += 1
            self._findings.note(f"{slot} reached {user} after a later one")
        self._close[series] = max(slot.bar_close_ms, self._close.get(series, 0))
        in_time = now_ns + body["clock_error_ns"] + ACTING_NS < body["expires_ns"]
        done = Delivery(
            slot=slot,
            user_id=user,
            account_id=account,
            partition=entry.partition,
            source=(body["source"]["partition"], body["source"]["offset"]),
            kind=body["kind"],
            expires_ns=body["expires_ns"],
            logged_ns=entry.timestamp_ms * 1_000_000,
            acted_ns=now_ns if in_time else None,
        )
        self.deliveries.append(done)
        return done

    def effect(self, delivery: Delivery, now_ns: int) -> None:
        """A reader has finished acting on a delivery; after its expiry that breaks the promise."""
        if now_ns >= delivery.expires_ns:
            self._findings.expired += 1
            self._findings.note(f"{delivery.slot} of {delivery.user_id} was acted on after it expired")

    def _count_raw(self, body: dict[str, Any]) -> None:
        identity = body.get("delivery_id")
        if identity is None:
            return
        self._raw[identity] += 1
        if self._raw[identity] > 1:
            self._findings.duplicated_raw += 1


class PredictionLog:
    """The winning record of each slot in `hub.predictions`: the first valid one."""

    def __init__(self) -> None:
        self.winners: dict[SlotKey, LogEntry] = {}
        self.places: dict[SlotKey, tuple[int, int]] = {}
        self.skipped = 0
        self._claim: dict[int, int] = {}

    def take(self, entry: LogEntry) -> dict[str, Any] | None:
        """The parsed record if it is the winner of its slot, else None."""
        if entry.key == b"~claim":
            self._claim[entry.partition] = entry.offset
            return None
        if entry.value is None or entry.key.startswith(b"~"):
            return None
        body: dict[str, Any] = orjson.loads(entry.value)
        slot = _slot_of(body["slot"])
        if body["epoch"] != self._claim.get(entry.partition) or slot in self.winners:
            return None
        self.winners[slot] = entry
        self.places[slot] = (entry.partition, entry.offset)
        self.skipped += body["kind"] == "skipped"
        return body


class SubscriptionLog:
    """The history of `user.subscriptions`: who was subscribed to what, and when."""

    def __init__(self) -> None:
        self._history: dict[tuple[str, str, str, str], list[tuple[int, int]]] = defaultdict(list)
        self._by_series: dict[tuple[str, str], set[tuple[str, str, str, str]]] = defaultdict(set)

    def take(self, entry: LogEntry) -> None:
        """Note a change; the entitlement counts in milliseconds of wall time, 0 once ended."""
        user, account, strategy, symbol = orjson.loads(entry.key)
        until = orjson.loads(entry.value)["entitled_until_ns"] // 1_000_000 if entry.value else 0
        self._history[user, account, strategy, symbol].append((entry.timestamp_ms, until))
        self._by_series[strategy, symbol].add((user, account, strategy, symbol))

    def owed(self, slot: SlotKey, at_ms: int) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
        """(user, account) pairs that must receive the slot predicted at `at_ms`, and those that may."""
        must, may = set(), set()
        for key in self._by_series.get((slot.strategy, slot.symbol), ()):
            states = self._states(key, at_ms)
            if all(states):
                must.add(key[:2])
            elif any(states):
                may.add(key[:2])
        return must, may

    def _states(self, key: tuple[str, str, str, str], at_ms: int) -> list[bool]:
        """Whether subscribed at the start of the grace time, and after each change within it."""
        history = self._history[key]
        first = bisect_right(history, (at_ms - GRACE_MS, 1 << 62))
        last = bisect_right(history, (at_ms + GRACE_MS, 1 << 62))
        untils = [history[first - 1][1] if first else 0, *(until for _, until in history[first:last])]
        return [moment < until for until in untils for moment in (at_ms - GRACE_MS, at_ms + GRACE_MS)]


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
        found: dict[SlotKey, dict[tuple[str, str], Delivery]] = defaultdict(dict)
        for delivery in self.signals.deliveries:
            found[delivery.slot][delivery.user_id, delivery.account_id] = delivery
        for slot in sorted(set(due)):
            self._settle_slot(slot, found.pop(slot, {}))
        for slot, rest in found.items():
            self.findings.phantom += len(rest)
            self.findings.note(f"{slot} was never due")
        return self.findings

    def _settle_slot(self, slot: SlotKey, here: dict[tuple[str, str], Delivery]) -> None:
        winner = self.predictions.winners.get(slot)
        must, may = self.subscriptions.owed(slot, winner.timestamp_ms if winner else self.end_ms)
        self.findings.expected += len(must) + len(may & here.keys())
        for owner, delivery in here.items():
            if owner in must or owner in may:
                self._settle_present(owner, delivery)
            else:
                self.findings.misdelivered += 1
                self.findings.note(f"{slot} reached {owner}, who was not subscribed")
        for owner in sorted(must - here.keys()):
            self._settle_absent(slot, owner)

    def _settle_present(self, owner: tuple[str, str], delivery: Delivery) -> None:
        place = self.predictions.places.get(delivery.slot)
        if delivery.source != place:
            self.findings.phantom += 1
            self.findings.note(f"{delivery.slot}: {owner} names {delivery.source}, the log says {place}")
        if delivery.acted_ns is None and delivery.logged_ns >= delivery.expires_ns:
            self._settle_absent(delivery.slot, owner)
            return
        self.findings.delivered += 1
        self.findings.abstained += delivery.kind == "abstain"
        self.findings.read_late += delivery.acted_ns is None

    def _settle_absent(self, slot: SlotKey, owner: tuple[str, str]) -> None:
        if (slot, self.partition_of(owner[0].encode())) in self.signals.undelivered:
            self.findings.undelivered += 1
        else:
            self.findings.lost += 1
            self.findings.note(f"{slot} never reached {owner} in time")


def _slot_of(body: dict[str, Any]) -> SlotKey:
    return SlotKey(body["strategy"], body["symbol"], body["horizon_ms"], body["bar_close_ms"])


def _decoded(entry: LogEntry, findings: Findings) -> dict[str, Any] | None:
    try:
        body = orjson.loads(entry.value or b"")
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        findings.undecodable += 1
        findings.note(f"record {entry.partition}/{entry.offset} is no JSON object")
        return None
    return body
