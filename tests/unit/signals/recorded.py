"""A recorded run as the hub writes it, of any size and clean: a test plants its fault in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from messaging.topics import PREDICTIONS, SIGNALS, SUBSCRIPTIONS, partition_of
from models.prediction import Slot
from models.principal import Tier
from models.signal import Source
from models.strategy import TargetFractionPolicy
from models.subscription import Subscription
from signals.book import Subscriber
from signals.encoding import Body, encode
from signals.ledger import LogEntry, Read, SlotKey
from tests.unit.signals.records import BAR_MS, CLOSE_MS, NOW_NS, TTL_NS, prediction, slot

TENANTS = ("acme", "bravo", "cumulus")
SYMBOLS = ("EURUSD", "NZDUSD")
EPOCH = 0
Log = list[LogEntry]


class Recorded:
    """The logs of `users` users in three tenants, each subscribed to both symbols, over `slots` bar closes.

    All partitions begin with a claim at offset 0. `start_ns` is when the first slot is predicted.
    """

    def __init__(self, *, users: int = 120, slots: int = 4, start_ns: int = NOW_NS) -> None:
        self._start_ns = start_ns
        self.users = [f"user-{number:04}" for number in range(users)]
        self.due: list[SlotKey] = []
        self.logs: dict[str, dict[int, Log]] = {
            topic.name: {p: [_claim(p)] for p in range(topic.partitions)} for topic in (PREDICTIONS, SIGNALS)
        }
        self.logs[SUBSCRIPTIONS.name] = {p: [] for p in range(SUBSCRIPTIONS.partitions)}
        self._by_home: dict[int, list[tuple[str, Subscriber]]] = defaultdict(list)
        self._sequences: dict[str, int] = defaultdict(int)
        for number, user in enumerate(self.users):
            for symbol in SYMBOLS:
                self.subscribe(user, symbol, tenant=TENANTS[number % len(TENANTS)])
        for number in range(slots):
            for symbol in SYMBOLS:
                self.predict(
                    slot(CLOSE_MS + number * BAR_MS, symbol=symbol), at_ns=start_ns + number * 10**10
                )

    def subscribe(self, user: str, symbol: str, *, tenant: str) -> None:
        made = Subscription(
            user_id=user,
            tenant_id=tenant,
            account_id="main",
            strategy="alpha@1",
            symbol=symbol,
            tier=Tier.PRO,
            entitled_until_ns=2 * NOW_NS,
        )
        home = partition_of(user.encode(), SIGNALS.partitions)
        self._by_home[home].append((symbol, Subscriber.of(made)))
        value = made.model_dump_json().encode()
        _append(self.logs[SUBSCRIPTIONS.name][home], home, self._start_ns - 10**11, (made.key(), value))

    def predict(self, owed: Slot, *, at_ns: int) -> None:
        """A slot comes due, is predicted, and reaches everybody 20 ms later."""
        times = {"generated_ns": at_ns, "expires_ns": at_ns + TTL_NS}
        made = prediction(owed, epoch=EPOCH).model_copy(update=times)
        self.due.append(SlotKey(owed.strategy, owed.symbol, owed.horizon_ms, owed.bar_close_ms))
        home = partition_of(owed.symbol.encode(), PREDICTIONS.partitions)
        offset = _append(self.logs[PREDICTIONS.name][home], home, at_ns, (owed.symbol.encode(), encode(made)))
        source = Source(partition=home, offset=offset, epoch=EPOCH)
        body = Body(made, source=source, policy=TargetFractionPolicy())
        batch = body.batch(epoch=EPOCH, part=(1, 1), subscription_offset=0, now_ns=at_ns)
        for partition, subscribers in self._by_home.items():
            log = self.logs[SIGNALS.name][partition]
            for symbol, one in subscribers:
                if symbol == owed.symbol:
                    self._sequences[one.user_id] += 1
                    outcome = body.outcome(one.cases.flat)
                    (value,) = batch.render([one], [self._sequences[one.user_id]], [outcome])
                    _append(log, partition, at_ns + 20_000_000, (one.key, value))

    @property
    def deliveries(self) -> int:
        return len(self.due) * len(self.users)

    def entries(self) -> Iterator[tuple[str, LogEntry]]:
        """Everything, in log order per partition."""
        for topic, partitions in self.logs.items():
            for log in partitions.values():
                for entry in log:
                    yield topic, entry

    def signals_of(self, user: str) -> tuple[Log, list[int]]:
        """The log the user's signals are in, and the indices of them there, oldest first."""
        log = self.logs[SIGNALS.name][partition_of(user.encode(), SIGNALS.partitions)]
        return log, [at for at, entry in enumerate(log) if entry.key == user.encode()]

    def change(self, user: str, which: int, alter: Callable[[dict[str, Any]], None]) -> None:
        """Rewrite one signal of the user in place."""
        log, places = self.signals_of(user)
        at = places[which]
        body = orjson.loads(log[at].value or b"")
        alter(body)
        log[at] = log[at]._replace(value=orjson.dumps(body))

    def append(self, entry: LogEntry) -> LogEntry:
        """Put a copy of a signal at the end of its partition."""
        log = self.logs[SIGNALS.name][entry.partition]
        log.append(entry._replace(offset=log[-1].offset + 1))
        return log[-1]

    def reads(self, reader: str = "desk") -> list[Read]:
        """What a reader that acts on everything at once says it did."""
        return [
            _read(reader, entry)
            for log in self.logs[SIGNALS.name].values()
            for entry in log
            if not entry.key.startswith(b"~")
        ]


def _read(reader: str, entry: LogEntry) -> Read:
    body = orjson.loads(entry.value or b"")
    place = (entry.partition, entry.offset, body["delivery_id"], body["user_id"])
    return Read(reader, *place, acted=True, at_ns=entry.timestamp_ms * 1_000_000)


def _claim(partition: int) -> LogEntry:
    return LogEntry(partition, EPOCH, NOW_NS // 1_000_000 - 60_000, b"~claim", b'{"schema":"hub.claim/1"}')


def _append(log: Log, partition: int, at_ns: int, record: tuple[bytes, bytes]) -> int:
    offset = log[-1].offset + 1 if log else 0
    log.append(LogEntry(partition, offset, at_ns // 1_000_000, *record))
    return offset
