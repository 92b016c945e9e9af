"""The ledger finds every planted fault and raises no false alarm."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from signals.ledger import Findings, LogEntry, PredictionLog, Settlement, SignalLog, SlotKey, SubscriptionLog
from signals.ledger.ids import delivery_id, signal_id

PARTITIONS = 4
BAR = 10_000
NOW = 1_000_000 * 1_000_000
Log = list[LogEntry]


def partition_of(key: bytes) -> int:
    """Any stable placement will do for the rules."""
    return zlib.crc32(key) % PARTITIONS


def slot(number: int) -> SlotKey:
    """The n-th slot of the one series."""
    return SlotKey("trend@1", "EURUSD", 60_000, number * BAR)


class Run:
    """A recorded run of three users and four slots, clean until a test plants a fault."""

    def __init__(self) -> None:
        self.users = ["anna", "ben", "chloe"]
        self.due = [slot(n) for n in range(1, 5)]
        self.subscriptions = [LogEntry(0, i, 1_000, _sub_key(u), _sub()) for i, u in enumerate(self.users)]
        self.predictions = [LogEntry(0, 0, 5_000, b"~claim", b"{}")]
        self.signals: dict[int, Log] = {
            p: [LogEntry(p, 0, 5_000, b"~claim", b'{"schema":"hub.claim/1"}')] for p in range(PARTITIONS)
        }
        for number, due in enumerate(self.due, start=1):
            self.predictions.append(_prediction(due, number))
            for user in self.users:
                self.add(user, due, source=(0, number), sequence=number)

    def add(self, user: str, due: SlotKey, **changes: Any) -> dict[str, Any]:
        partition = changes.pop("partition", partition_of(user.encode()))
        key = changes.pop("key", user.encode())
        source = changes.pop("source", (0, 1))
        logged_ms = changes.pop("logged_ms", 6_000)
        body = _signal(user, due, source, changes)
        log = self.signals[partition]
        log.append(LogEntry(partition, log[-1].offset + 1, logged_ms, key, orjson.dumps(body)))
        return body

    def settled(self, now_ns: int = NOW) -> Findings:
        findings = Findings()
        signals, predictions, subscriptions = (
            SignalLog(partition_of, findings),
            PredictionLog(),
            SubscriptionLog(),
        )
        for entry in self.subscriptions:
            subscriptions.take(entry)
        for entry in self.predictions:
            predictions.take(entry)
        for entry in (entry for log in self.signals.values() for entry in log):
            signals.take(entry, now_ns)
        return Settlement(
            subscriptions=subscriptions,
            predictions=predictions,
            signals=signals,
            partition_of=partition_of,
            findings=findings,
            end_ms=10_000,
        ).settle(self.due)

    def drop_last(self, user: str) -> None:
        log = self.signals[partition_of(user.encode())]
        log.remove(next(entry for entry in reversed(log) if entry.key == user.encode()))


def _sub_key(user: str) -> bytes:
    return orjson.dumps([user, "main", "trend@1", "EURUSD"])


def _sub(until_ns: int = 10**19) -> bytes:
    return orjson.dumps({"entitled_until_ns": min(until_ns, 2**62), "tenant_id": "t"})


def _prediction(due: SlotKey, offset: int, epoch: int = 0) -> LogEntry:
    slot_body = {**due._asdict(), "signal_id": signal_id(due)}
    body = {"epoch": epoch, "kind": "prediction", "slot": slot_body, "expires_ns": NOW + 1}
    return LogEntry(0, offset, 5_000, b"EURUSD", orjson.dumps(body))


def _signal(user: str, due: SlotKey, source: tuple[int, int], changes: dict[str, Any]) -> dict[str, Any]:
    return {
        **due._asdict(),
        "signal_id": signal_id(due),
        "delivery_id": delivery_id(signal_id(due), user, "main"),
        "tenant_id": "t",
        "user_id": user,
        "account_id": "main",
        "sequence": 1,
        "kind": "adjust",
        "epoch": 0,
        "clock_error_ns": 0,
        "expires_ns": NOW + 1,
        "source": {"partition": source[0], "offset": source[1]},
        **changes,
    }


def test_clean_run_raises_no_alarm() -> None:
    """Every due slot of every user is delivered, and nothing else is reported."""
    findings = Run().settled()

    assert findings.clean
    assert (findings.expected, findings.delivered, findings.examples) == (12, 12, [])


def _lose(run: Run) -> None:
    run.drop_last("anna")


def _double(run: Run) -> None:
    run.add("anna", run.due[3], source=(0, 4), sequence=5)


def _swap(run: Run) -> None:
    run.add("anna", slot(5), source=(0, 5), sequence=6)
    run.add("anna", run.due[3], source=(0, 4), sequence=7)


def _wrong_key(run: Run) -> None:
    run.drop_last("anna")
    run.add("anna", run.due[3], source=(0, 4), sequence=4, key=b"ben")


def _wrong_partition(run: Run) -> None:
    run.drop_last("anna")
    other = (partition_of(b"anna") + 1) % PARTITIONS
    run.add("anna", run.due[3], source=(0, 4), sequence=4, partition=other)


def _unsubscribed(run: Run) -> None:
    run.add("dora", run.due[3], source=(0, 4))


def _ended(run: Run) -> None:
    run.subscriptions.append(LogEntry(0, 9, 3_000, _sub_key("anna"), None))


def _out_of_entitlement(run: Run) -> None:
    run.subscriptions.append(LogEntry(0, 9, 2_000, _sub_key("anna"), _sub(3_000 * 1_000_000)))


def _never_due(run: Run) -> None:
    run.add("anna", slot(99), source=(0, 4), sequence=5)


def _forged_lineage(run: Run) -> None:
    run.drop_last("anna")
    run.add("anna", run.due[3], source=(0, 2), sequence=4)


def _stale_epoch(run: Run) -> None:
    run.drop_last("anna")
    run.add("anna", run.due[3], source=(0, 4), sequence=4, epoch=-7)


def _late(run: Run) -> None:
    run.drop_last("anna")
    run.add("anna", run.due[3], source=(0, 4), sequence=4, expires_ns=NOW, logged_ms=NOW // 1_000_000)


def _void_prediction(run: Run) -> None:
    run.predictions[4] = _prediction(run.due[3], 4, epoch=-1)


def _garbage(run: Run) -> None:
    run.signals[0].append(LogEntry(0, 99, 6_000, b"anna", b"\xff"))


@pytest.mark.parametrize(
    ("plant", "finding", "count"),
    [
        (_lose, "lost", 1),
        (_double, "duplicated", 1),
        (_swap, "reordered", 1),
        (_wrong_key, "misdelivered", 1),
        (_wrong_partition, "wrong_partition", 1),
        (_unsubscribed, "unsubscribed", 1),
        (_ended, "unsubscribed", 4),
        (_out_of_entitlement, "unsubscribed", 4),
        (_never_due, "phantom", 1),
        (_forged_lineage, "forged", 1),
        (_stale_epoch, "lost", 1),
        (_late, "lost", 1),
        (_void_prediction, "phantom", 3),
        (_garbage, "undecodable", 1),
    ],
)
def test_planted_fault_is_found(plant: Callable[[Run], None], finding: str, count: int) -> None:
    """Each fault is found under its own name, exactly as often as it was planted."""
    run = Run()
    plant(run)

    findings = run.settled()

    assert getattr(findings, finding) == count
    assert not findings.clean
    assert findings.examples


def test_raw_repeat_with_the_same_sequence_is_dropped_and_counted() -> None:
    """A repeat that the rules drop is visible raw, and the run stays clean."""
    run = Run()
    run.add("anna", run.due[3], source=(0, 4), sequence=4)

    findings = run.settled()

    assert findings.clean
    assert (findings.duplicated_raw, findings.duplicated) == (1, 0)


def test_undelivered_record_accounts_for_the_missing_slot() -> None:
    """A slot recorded as undelivered is not lost."""
    run = Run()
    partition = partition_of(b"anna")
    mates = [u for u in run.users if partition_of(u.encode()) == partition]
    run.signals[partition] = [
        e for e in run.signals[partition] if str(run.due[3].bar_close_ms).encode() not in (e.value or b"")
    ]
    record = orjson.dumps({**run.due[3]._asdict(), "epoch": 0, "reason": "expired"})
    run.signals[partition].append(LogEntry(partition, 50, 6_000, b"~undelivered", record))

    findings = run.settled()

    assert findings.clean
    assert (findings.undelivered, findings.delivered) == (len(mates), 12 - len(mates))
    assert findings.undelivered_by_reason == {"expired": len(mates)}


def test_change_within_the_grace_time_may_go_either_way() -> None:
    """A subscription that ended half a second before the prediction may still be served, or not."""
    served, unserved = Run(), Run()
    for run in (served, unserved):
        run.subscriptions.append(LogEntry(0, 9, 4_500, _sub_key("anna"), None))
    log = unserved.signals[partition_of(b"anna")]
    unserved.signals[partition_of(b"anna")] = [e for e in log if e.key != b"anna"]

    assert served.settled().clean
    assert unserved.settled().clean
    assert (served.settled().expected, unserved.settled().expected) == (12, 8)


def test_effect_after_expiry_is_counted() -> None:
    """A reader that finishes acting after the expiry breaks the promise, though it began in time."""
    findings = Findings()
    log = SignalLog(partition_of, findings)
    run = Run()
    partition = partition_of(b"anna")
    taken = [log.take(entry, NOW) for entry in run.signals[partition]]
    delivery = next(item for item in taken if item is not None)

    log.effect(delivery, NOW + 1)

    assert findings.expired == 1
    assert not findings.clean


def test_slow_reader_is_not_the_loss_of_the_hub() -> None:
    """A record that the log had in time is delivered, even to a reader that came too late to act."""
    findings = Run().settled(now_ns=NOW + 1)

    assert findings.clean
    assert (findings.delivered, findings.read_late) == (12, 12)
