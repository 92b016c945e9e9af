"""Today's readers on a log: what each makes of it, as plain data that a later release can be held against."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from deployments.router.catalogue_fold import CatalogueFold
from deployments.tracker.outcome_fold import OutcomeFold
from messaging.claims import EpochFilter
from messaging.nats.codec import decode_bar, decode_clock, decode_tick
from messaging.subjects import HALT_SUBJECT
from messaging.topics import (
    AUDIT_HEADS,
    CONTROL,
    DECISIONS,
    DENIALS,
    EVENT_MARKS,
    EVIDENCE,
    MODELS,
    OUTCOMES,
    PREDICTIONS,
    SIGNAL_STATE,
    SIGNALS,
    SUBSCRIPTIONS,
    TENANT_EVENTS,
    TENANTS,
    USAGE,
    USER_EVENTS,
)
from models.events import CHECKPOINT_KEY, Checkpoint, SequenceMark
from models.evidence import ModelEvidence
from models.halt import Halt
from models.outcome import RecordedDecision
from models.user_event import EventMark, UserEvent
from routing.evidence.rules import EvidenceRules
from signals.book import Book
from signals.halts import Halts
from signals.ledger import Findings, LogEntry, SignalLog
from signals.reader import PredictionRules, SignalRules
from tests.golden.known import remembered
from tests.golden.logs import Golden
from tests.golden.used import believed, denied, folded, told

Results = dict[str, Any]


def results(records: Iterable[Golden]) -> Results:
    """What the readers of this release make of every topic."""
    by_topic: dict[str, list[Golden]] = defaultdict(list)
    for record in records:
        by_topic[record.topic].append(record)
    readers: dict[str, Callable[[list[Golden]], Any]] = {
        SIGNALS.name: _signals,
        PREDICTIONS.name: _predictions,
        SUBSCRIPTIONS.name: _subscriptions,
        SIGNAL_STATE.name: _state,
        CONTROL.name: _halts,
        MODELS.name: _models,
        DECISIONS.name: _decisions,
        OUTCOMES.name: _outcomes,
        EVIDENCE.name: lambda found: _all(ModelEvidence, found),
        TENANTS.name: remembered,
        AUDIT_HEADS.name: believed,
        USAGE.name: folded,
        DENIALS.name: denied,
        TENANT_EVENTS.name: told,
        EVENT_MARKS.name: lambda found: _all(EventMark, found),
        **{topic.name: lambda found: _all(UserEvent, found) for topic in USER_EVENTS},
    }
    read = {topic: read(by_topic[topic]) for topic, read in readers.items()}
    return {**read, "ledger": _ledger(by_topic[SIGNALS.name]), "nats": _nats(by_topic)}


def _partitions(found: list[Golden]) -> dict[int, list[Golden]]:
    by_partition: dict[int, list[Golden]] = defaultdict(list)
    for record in found:
        by_partition[record.partition].append(record)
    return by_partition


def _signals(found: list[Golden]) -> Results:
    verdicts, sequences, cursors = Counter[str](), dict[str, int](), dict[str, dict[str, int]]()
    for partition, log in _partitions(found).items():
        rules = SignalRules(EpochFilter(), strict=True)
        verdicts.update(rules.take(one.offset, one.key, one.value, None).verdict.value for one in log)
        sequences |= rules.sequences
        cursors[str(partition)] = {str(source): offset for source, offset in sorted(rules.cursor.items())}
    return {"verdicts": _sorted(verdicts), "sequences": _sorted(sequences), "cursors": _sorted(cursors)}


def _predictions(found: list[Golden]) -> Results:
    verdicts = Counter[str]()
    for log in _partitions(found).values():
        rules = PredictionRules(EpochFilter())
        verdicts.update(rules.take(one.offset, one.key, one.value).verdict.value for one in log)
    return _sorted(verdicts)


def _subscriptions(found: list[Golden]) -> Results:
    books = {partition: Book() for partition in _partitions(found)}
    for one in found:
        books[one.partition].apply(one.key, one.value, one.offset)
    return {
        "live": {str(partition): len(book) for partition, book in sorted(books.items())},
        "refused": sum(book.refused for book in books.values()),
    }


def _state(found: list[Golden]) -> Results:
    """Restores from the newest checkpoint of each partition, as an owner does."""
    newest: dict[str, int] = {}
    for one in found:
        if one.key == CHECKPOINT_KEY:
            checkpoint = Checkpoint.from_record(one.value or b"")
            newest[str(one.partition)] = SignalRules.resumed(EpochFilter(), checkpoint).position
    marks = [SequenceMark.from_record(one.value or b"") for one in found if one.key != CHECKPOINT_KEY]
    return {"positions": _sorted(newest), "marks": len(marks)}


def _halts(found: list[Golden]) -> Results:
    halts = Halts()
    for one in found:
        halts.apply(one.key, one.value)
    return {"in_force": [f"{halt.scope}:{halt.id}" for halt in halts.in_force], "refused": halts.refused}


def _models(found: list[Golden]) -> Results:
    fold = CatalogueFold()
    fold.take_all(one.record for one in found)
    cards = {str(card.key): card.cost for card in fold.cards}
    return {"cards": cards, "version": fold.version, "skipped": fold.skipped}


def _decisions(found: list[Golden]) -> Results:
    read = [RecordedDecision.from_record(one.value or b"") for one in found]
    return {"decisions": len(read), "carried_out": sum(one.outcome is not None for one in read)}


def _outcomes(found: list[Golden]) -> Results:
    judged = OutcomeFold(EvidenceRules())
    judged.take_all(one.record for one in found)
    fold = judged.fold
    counted = {model: fold.evidence(model).outcomes for model in sorted(fold.models)}
    return {"outcomes": counted, "cursor": fold.cursor, "skipped": judged.skipped}


def _all(kind: type[UserEvent | EventMark | ModelEvidence], found: list[Golden]) -> int:
    return len([kind.from_record(one.value or b"") for one in found])


def _ledger(found: list[Golden]) -> Results:
    """The second reader, which shares no rule with the first."""
    findings = Findings()
    log = SignalLog(lambda key: _home(found, key), findings)
    entries = (LogEntry(one.partition, one.offset, one.timestamp_ms, one.key, one.value) for one in found)
    taken = [log.take(entry, 0) for entry in entries]
    wrong = {name: count for name, count in findings.must_be_zero().items() if count}
    return {"deliveries": sum(one is not None for one in taken), "void": findings.void, "wrong": wrong}


def _home(found: list[Golden], key: bytes) -> int:
    """Where the log has the user: the recorded run had fewer partitions than the contract."""
    return next(one.partition for one in found if one.key == key)


def _nats(by_topic: dict[str, list[Golden]]) -> Results:
    for subject, some in by_topic.items():
        for one in some:
            value = one.value or b""
            if subject.endswith(".tick"):
                decode_tick(value, symbol=subject.split(".")[3])
            elif subject.endswith(".clock"):
                decode_clock(value)
            elif ".bar." in subject:
                decode_bar(value)
            elif subject == HALT_SUBJECT:
                Halt.from_record(value)
    return {subject: len(some) for subject, some in sorted(by_topic.items()) if subject.startswith("hub.v1")}


def _sorted(counts: dict[str, Any]) -> Results:
    return dict(sorted(counts.items()))
