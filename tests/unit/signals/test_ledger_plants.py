"""Every fault planted in a clean recorded run is found under its own name, and no other is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from messaging.topics import PREDICTIONS, SIGNALS, SUBSCRIPTIONS, partition_of
from models import ids
from serve_app.audit.run_ledger import RunLedger
from signals.ledger import Findings, LogEntry, Read
from tests.unit.signals.recorded import Recorded
from tests.unit.signals.records import CLOSE_MS, NOW_NS, TTL_NS

USER = "user-0007"
OTHER = "user-0008"


def settled(recorded: Recorded, reads: list[Read] | None = None) -> Findings:
    """The ledger over a recorded run."""
    book = RunLedger(recorded.due, SIGNALS.partitions, keep_places=reads is not None)
    for topic, entry in recorded.entries():
        book.take(topic, entry)
    return book.settled(reads or ())


def broken(findings: Findings) -> dict[str, int]:
    """The promises that were broken, and how often."""
    return {name: count for name, count in findings.must_be_zero().items() if count}


def test_a_hundred_thousand_deliveries_raise_no_alarm() -> None:
    """R1: 120 users of three tenants, everything delivered, nothing reported."""
    recorded = Recorded(users=120, slots=417)

    findings = settled(recorded)

    assert findings.clean, findings.examples
    assert findings.delivered == findings.expected == recorded.deliveries >= 100_000
    assert (findings.availability, findings.void, findings.read_late) == (1.0, 0, 0)


def test_readers_that_did_what_they_should_raise_no_alarm() -> None:
    """Two readers acted on everything, each once, in order and in time."""
    recorded = Recorded()

    assert settled(recorded, recorded.reads("desk") + recorded.reads("mirror")).clean


def _lose(run: Recorded) -> None:
    """The last signal of a user is not there, as if it had been acknowledged and dropped."""
    log, places = run.signals_of(USER)
    del log[places[-1]]


def _lose_in_the_middle(run: Recorded) -> None:
    log, places = run.signals_of(USER)
    del log[places[2]]


def _repeat_under_a_fresh_number(run: Recorded) -> None:
    log, places = run.signals_of(USER)
    body = orjson.loads(log[places[-1]].value or b"")
    body["sequence"] += 1
    run.append(log[places[-1]]._replace(value=orjson.dumps(body)))


def _swap(run: Recorded) -> None:
    """Two slots of one series change places; the numbers stay in order."""
    log, places = run.signals_of(USER)
    first, second = (orjson.loads(log[at].value or b"") for at in (places[0], places[2]))
    first["sequence"], second["sequence"] = second["sequence"], first["sequence"]
    for at, body in ((places[0], second), (places[2], first)):
        in_time_ms = log[places[0]].timestamp_ms
        log[at] = log[at]._replace(value=orjson.dumps(body), timestamp_ms=in_time_ms)


def _land_late(run: Recorded) -> None:
    log, places = run.signals_of(USER)
    log[places[-1]] = log[places[-1]]._replace(timestamp_ms=(NOW_NS + 3 * 10**10 + TTL_NS) // 1_000_000)


def _wrong_key(run: Recorded) -> None:
    """One more copy of a signal lands under another user's key, on that user's partition."""
    log, places = run.signals_of(USER)
    theirs, _ = run.signals_of(OTHER)
    run.append(log[places[0]]._replace(partition=theirs[0].partition, key=OTHER.encode()))


def _other_tenant(run: Recorded) -> None:
    run.change(USER, 1, lambda body: body.update(tenant_id="bravo-gone"))


def _wrong_partition(run: Recorded) -> None:
    log, places = run.signals_of(USER)
    moved = log.pop(places[-1])
    run.append(moved._replace(partition=(moved.partition + 1) % SIGNALS.partitions))


def _forged_artefact(run: Recorded) -> None:
    run.change(USER, 1, lambda body: body["lineage"].update(artifact_sha256="f" * 64))


def _forged_decision(run: Recorded) -> None:
    run.change(USER, 1, lambda body: body["lineage"].update(decision_id="0" * 32))


def _forged_source(run: Recorded) -> None:
    run.change(USER, 1, lambda body: body["source"].update(offset=body["source"]["offset"] + 1))


def _forged_forecast(run: Recorded) -> None:
    run.change(USER, 1, lambda body: body["forecast"].update(q50=9.0))


def _forged_delivery_id(run: Recorded) -> None:
    run.change(USER, 1, lambda body: body.update(delivery_id="0b0e9d5a-0000-8000-8000-000000000000"))


def _forged_signal_id(run: Recorded) -> None:
    run.change(USER, 1, lambda body: body.update(signal_id="0b0e9d5a-0000-5000-8000-000000000000"))


def _never_subscribed(run: Recorded) -> None:
    """A stranger's copy, well formed and rightly placed."""
    log, places = run.signals_of(USER)
    body: dict[str, Any] = orjson.loads(log[places[0]].value or b"")
    stranger = next(name for name in map("stranger-{}".format, range(999)) if _home(name) == log[0].partition)
    body.update(user_id=stranger, sequence=1)
    prefix = ids.delivery_prefix(
        ids.signal_id(
            strategy=body["strategy"],
            symbol=body["symbol"],
            bar_close_ms=body["bar_close_ms"],
            horizon_ms=body["horizon_ms"],
        )
    )
    body["delivery_id"] = str(ids.delivery_id(prefix, user_id=stranger, account_id="main"))
    run.append(log[places[0]]._replace(key=stranger.encode(), value=orjson.dumps(body)))


def _never_predicted(run: Recorded) -> None:
    """The prediction of a slot is void: whatever was delivered of it came from nowhere."""
    for log in run.logs[PREDICTIONS.name].values():
        for at, entry in enumerate(log):
            if entry.value and f'"bar_close_ms":{CLOSE_MS}'.encode() in entry.value:
                log[at] = entry._replace(value=entry.value.replace(b'"epoch":0', b'"epoch":-1'))


def _never_due(run: Recorded) -> None:
    run.due = [slot for slot in run.due if slot.bar_close_ms != CLOSE_MS]


def _numbers_skipped(run: Recorded) -> None:
    run.change(USER, -1, lambda body: body.update(sequence=body["sequence"] + 3))


def _garbage(run: Recorded) -> None:
    run.append(LogEntry(0, 0, NOW_NS // 1_000_000, b"user", b"\xff"))


def _without_its_fields(run: Recorded) -> None:
    run.append(LogEntry(0, 0, NOW_NS // 1_000_000, b"user", b'{"epoch":0}'))


def _offset_twice(run: Recorded) -> None:
    log, places = run.signals_of(USER)
    log.append(log[places[0]])


def _home(user: str) -> int:
    return partition_of(user.encode(), SIGNALS.partitions)


@pytest.mark.parametrize(
    ("plant", "found"),
    [
        (_lose, {"lost": 1}),
        (_lose_in_the_middle, {"lost": 1, "missing numbers": 1}),
        (_repeat_under_a_fresh_number, {"doubled": 1}),
        (_swap, {"reordered": 1}),
        (_land_late, {"lost": 1}),
        (_wrong_key, {"to the wrong user": 1}),
        (_other_tenant, {"to the wrong user": 1}),
        (_wrong_partition, {"on the wrong partition": 1}),
        (_forged_artefact, {"of forged origin": 1}),
        (_forged_decision, {"of forged origin": 1}),
        (_forged_source, {"of forged origin": 1}),
        (_forged_forecast, {"of forged origin": 1}),
        (_forged_delivery_id, {"of forged origin": 1}),
        (_forged_signal_id, {"of forged origin": 1}),
        (_never_subscribed, {"not subscribed": 1}),
        (_never_predicted, {"of no known prediction": 240}),
        (_never_due, {"of no known prediction": 240}),
        (_numbers_skipped, {"missing numbers": 3}),
        (_garbage, {"unreadable": 1}),
        (_without_its_fields, {"unreadable": 1}),
        (_offset_twice, {"diverged": 1}),
    ],
)
def test_a_planted_fault_is_found_under_its_name(
    plant: Callable[[Recorded], None], found: dict[str, int]
) -> None:
    """As often as it was planted, and nothing else is accused."""
    run = Recorded()
    plant(run)

    findings = settled(run)

    assert broken(findings) == found, findings.examples
    assert not findings.clean
    assert findings.examples


def _acted_twice(run: Recorded, reads: list[Read]) -> None:
    reads.append(reads[5])


def _acted_late(run: Recorded, reads: list[Read]) -> None:
    reads[5] = reads[5]._replace(at_ns=reads[5].at_ns + TTL_NS)


def _acted_for_another(run: Recorded, reads: list[Read]) -> None:
    reads[5] = reads[5]._replace(user_id=OTHER)


def _acted_on_another_record(run: Recorded, reads: list[Read]) -> None:
    reads[5] = reads[5]._replace(delivery_id=reads[6].delivery_id)


def _acted_on_nothing(run: Recorded, reads: list[Read]) -> None:
    reads.append(reads[5]._replace(offset=0, delivery_id="none"))


def _acted_out_of_order(run: Recorded, reads: list[Read]) -> None:
    mine = [at for at, read in enumerate(reads) if read.user_id == USER]
    reads[mine[0]], reads[mine[2]] = reads[mine[2]], reads[mine[0]]


def _acted_though_fenced(run: Recorded, reads: list[Read]) -> None:
    """A zombie's copy lands behind a new owner's claim, and the reader acts on it as a fresh delivery."""
    log, places = run.signals_of(USER)
    partition = log[0].partition
    run.append(LogEntry(partition, 0, log[-1].timestamp_ms, b"~claim", b"{}"))
    stale = run.append(log[places[-1]])
    mine = next(
        at
        for at, read in enumerate(reads)
        if read.offset == log[places[-1]].offset and read.partition == partition
    )
    reads[mine] = reads[mine]._replace(offset=stale.offset)


@pytest.mark.parametrize(
    ("plant", "found"),
    [
        (_acted_twice, {"doubled": 1}),
        (_acted_late, {"acted on late": 1}),
        (_acted_for_another, {"to the wrong user": 1}),
        (_acted_on_another_record, {"diverged": 1}),
        (_acted_on_nothing, {"of no known prediction": 1}),
        (_acted_out_of_order, {"reordered": 1}),
        (_acted_though_fenced, {"acted on though fenced": 1}),
    ],
)
def test_a_reader_that_did_wrong_is_found(
    plant: Callable[[Recorded, list[Read]], None], found: dict[str, int]
) -> None:
    """The log is clean; what the reader says of itself is not."""
    run = Recorded()
    reads = run.reads()
    plant(run, reads)

    findings = settled(run, reads)

    assert broken(findings) == found, findings.examples


def test_a_repeat_that_readers_drop_is_no_fault() -> None:
    """A batch that landed twice is counted raw, and only there."""
    run = Recorded()
    log, places = run.signals_of(USER)
    run.append(log[places[-1]])

    findings = settled(run)

    assert findings.clean
    assert findings.duplicated_raw == 1


def test_an_effect_behind_the_end_of_the_log_is_not_judged() -> None:
    """A reader that ran on after the log was saved is not accused of inventing records."""
    run = Recorded()
    book = RunLedger(run.due, SIGNALS.partitions, keep_places=True)
    for topic, entry in run.entries():
        book.take(topic, entry)
    beyond = run.reads()[0]._replace(offset=10_000)

    assert book.settled([beyond]).clean
    assert book.unjudged_reads == 1


def test_a_broken_subscription_is_unreadable_and_owes_nothing() -> None:
    """The hub refuses it, too."""
    run = Recorded()
    run.logs[SUBSCRIPTIONS.name][0].append(LogEntry(0, 999, 1, b"no key", b"{}"))

    assert broken(settled(run)) == {"unreadable": 1}
