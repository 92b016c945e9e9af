"""`user.signals` as the ledger reads it: record by record, as any service would."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import orjson

from signals.ledger.bodies import Bodies, Shared
from signals.ledger.findings import Findings
from signals.ledger.ids import delivery_id
from signals.ledger.records import Delivery, LogEntry, SlotKey, slot_of, unreadable

ACTING_NS: Final = 20_000_000
"""What a reader needs to act: with less time left it drops the signal, because it would be done too late."""


class Place(NamedTuple):
    """What lies at an offset, for judging a reader that says it acted on it; `valid` by its epoch."""

    delivery_id: str
    user_id: str
    account_id: str
    slot: SlotKey
    expires_ns: int
    valid: bool


class SignalLog:
    """Reads `user.signals` record by record as any service would, and remembers what it did.

    With `keep_places` it also remembers what lies where, so that a reader's own account can be judged.
    """

    def __init__(
        self, partition_of: Callable[[bytes], int], findings: Findings, *, keep_places: bool = False
    ) -> None:
        self.deliveries: list[Delivery] = []
        self.undelivered: dict[tuple[SlotKey, int], str] = {}
        self.places: dict[tuple[int, int], Place] = {}
        self.ends: dict[int, int] = {}
        self._keep_places = keep_places
        self._partition_of = partition_of
        self._home: dict[bytes, int] = {}
        self._findings = findings
        self._claim: dict[int, int] = {}
        self._sequence: dict[tuple[int, str], int] = {}
        self._close: dict[tuple[int, str, str, str, str, int], int] = {}
        self._raw: Counter[str] = Counter()
        self._accepted: set[str] = set()
        self._bodies = Bodies()

    def take(self, entry: LogEntry, now_ns: int) -> Delivery | None:
        """Apply the rules to the next record of its partition; a Delivery if it was addressed to a user."""
        if entry.offset < self.ends.get(entry.partition, 0):
            self._findings.diverged += 1
            self._findings.note(f"offset {entry.partition}/{entry.offset} was read again, after later ones")
            return None
        self.ends[entry.partition] = entry.offset + 1
        try:
            if entry.key.startswith(b"~"):
                self._control(entry)
                return None
            return self._judged(entry, now_ns)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            unreadable(entry, self._findings, f"is not what its key says: {error!r}")
            return None

    def effect(self, delivery: Delivery, now_ns: int) -> None:
        """A reader has finished acting on a delivery; after its expiry that breaks the promise."""
        if now_ns >= delivery.expires_ns:
            self._findings.expired += 1
            self._findings.note(f"{delivery.slot} of {delivery.user_id} was acted on after it expired")

    def _control(self, entry: LogEntry) -> None:
        if entry.key == b"~claim":
            self._claim[entry.partition] = entry.offset
        elif entry.key == b"~undelivered":
            body = orjson.loads(entry.value or b"")
            if body["epoch"] == self._claim.get(entry.partition):
                self.undelivered[slot_of(body), entry.partition] = body["reason"]
            else:
                self._findings.void += 1

    def _judged(self, entry: LogEntry, now_ns: int) -> Delivery | None:
        shared, own = self._bodies.parse(entry.value or b"")
        delivery, user = own["delivery_id"], own["user_id"]
        self._raw[delivery] += 1
        self._findings.duplicated_raw += self._raw[delivery] > 1
        valid = shared.epoch == self._claim.get(entry.partition)
        if self._keep_places:
            self.places[entry.partition, entry.offset] = Place(
                delivery, user, own["account_id"], shared.slot, shared.expires_ns, valid
            )
        if not valid:
            self._findings.void += 1
            return None
        if not self._addressed(entry, user) or not self._moves_on(entry.partition, user, own["sequence"]):
            return None
        return self._accept(entry, shared, own, now_ns)

    def _addressed(self, entry: LogEntry, user: str) -> bool:
        """Whether key and body name one user; noted, too, if that is not where users of this key belong."""
        if entry.key != user.encode():
            self._findings.misdelivered += 1
            self._findings.note(f"record {entry.partition}/{entry.offset}: key {entry.key!r}, user {user}")
            return False
        if self._home_of(entry.key) != entry.partition:
            self._findings.wrong_partition += 1
            self._findings.note(f"user {user} found on partition {entry.partition}")
        return True

    def _home_of(self, key: bytes) -> int:
        home = self._home.get(key)
        if home is None:
            home = self._home[key] = self._partition_of(key)
        return home

    def _moves_on(self, partition: int, user: str, sequence: int) -> bool:
        """Whether the number is new; numbers that nobody was given are gaps, unless the log begins later."""
        last = self._sequence.get((partition, user))
        if last is not None and sequence <= last:
            return False
        self._sequence[partition, user] = sequence
        if last is not None and sequence > last + 1:
            self._findings.gaps += sequence - last - 1
            self._findings.note(f"user {user} was given number {sequence} after {last}")
        return True

    def _accept(self, entry: LogEntry, shared: Shared, own: dict[str, Any], now_ns: int) -> Delivery:
        user, account = own["user_id"], own["account_id"]
        self._check_identity(shared, own["delivery_id"], user, account)
        self._check_order(entry.partition, shared.slot, user, account)
        done = Delivery(
            slot=shared.slot,
            user_id=user,
            account_id=account,
            partition=entry.partition,
            source=shared.source,
            kind=own["kind"],
            expires_ns=shared.expires_ns,
            logged_ns=entry.timestamp_ms * 1_000_000,
            acted_ns=now_ns if now_ns + shared.clock_error_ns + ACTING_NS < shared.expires_ns else None,
            tenant_id=own["tenant_id"],
            origin=shared.origin,
        )
        self.deliveries.append(done)
        return done

    def _check_identity(self, shared: Shared, delivery: str, user: str, account: str) -> None:
        if delivery in self._accepted:
            self._findings.duplicated += 1
            self._findings.note(f"delivery {delivery} accepted twice")
        self._accepted.add(delivery)
        if not shared.derived or delivery != delivery_id(shared.signal_id, user, account):
            self._findings.forged += 1
            self._findings.note(f"{shared.slot} of {user} bears ids that its fields do not derive")

    def _check_order(self, partition: int, slot: SlotKey, user: str, account: str) -> None:
        series = (partition, user, account, slot.strategy, slot.symbol, slot.horizon_ms)
        last = self._close.get(series, 0)
        if slot.bar_close_ms < last:
            self._findings.reordered += 1
            self._findings.note(f"{slot} reached {user} after a later one")
        self._close[series] = max(slot.bar_close_ms, last)
