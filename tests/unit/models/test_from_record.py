"""A record of a later release is read without its additions; what a person types is refused for the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from messaging.claims import EpochFilter
from models.base import Frozen
from models.events import Beat, Checkpoint, SequenceMark, SeriesMark, Undelivered, UndeliveredReason
from models.halt import Halt, HaltScope
from models.signal import Signal
from models.subscription import Subscription
from signals.book import Book
from signals.encoding import decode_owed, encode
from signals.reader import PredictionRules, SignalRules, Verdict
from tests.unit.signals import records

ROOT = Path(__file__).parents[3]
UNDELIVERED = Undelivered(
    epoch=0,
    signal_id=records.slot().signal_id,
    strategy="alpha@1",
    symbol="EURUSD",
    horizon_ms=60_000,
    bar_close_ms=records.CLOSE_MS,
    source_partition=0,
    source_offset=1,
    reason=UndeliveredReason.EXPIRED,
    subscription_offset=7,
    count=3,
    now_ns=records.NOW_NS,
)
CHECKPOINT = Checkpoint(
    epoch=0,
    position=9,
    claims=(0,),
    cursor={"0": 4},
    sequences={"user-1": 2},
    series=(SeriesMark(strategy="alpha@1", symbol="EURUSD", horizon_ms=60_000, bar_close_ms=1),),
    written_ns=1,
)
RECORDS = (
    UNDELIVERED,
    CHECKPOINT,
    Beat(epoch=0, cursor={"0": 2}, now_ns=1),
    SequenceMark(user_id="user-1", sequence=32, offset=40),
    Halt(scope=HaltScope.ALL, id="*", reason="drill", by="ops", at_ns=1),
    records.subscription(),
    Signal.model_validate_json(records.signal_bytes()),
)


MAPPINGS = {"acted", "cursor", "held", "sequences", "stages"}
"""Members whose names are data: an addition to them would be none."""


def grown(value: bytes) -> bytes:
    """The record as a release might write it that has added a field to every object in it."""
    return orjson.dumps(_grown(orjson.loads(value)))


def _grown(value: Any) -> Any:
    if isinstance(value, list):
        return [_grown(item) for item in value]
    if not isinstance(value, dict):
        return value
    known = {name: item if name in MAPPINGS else _grown(item) for name, item in value.items()}
    return {**known, "added_later": {"deep": [1]}}


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_additions_are_ignored_at_every_depth(record: Frozen) -> None:
    """The reader finds what it knows, unchanged."""
    assert type(record).from_record(grown(encode(record))) == record


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_strictly_read_they_are_refused(record: Frozen) -> None:
    """As in a request body or a configuration file."""
    with pytest.raises(ValidationError, match="added_later"):
        type(record).model_validate_json(grown(encode(record)))


@pytest.mark.parametrize("owed", [records.prediction(), records.skipped()], ids=["prediction", "skipped"])
def test_what_is_owed_is_read_by_old_readers(owed: Any) -> None:
    """Both kinds of `hub.predictions`."""
    value = grown(encode(owed))
    reading = PredictionRules(EpochFilter()).take(1, b"EURUSD", value)

    assert decode_owed(value) == owed
    assert reading.verdict is Verdict.ACCEPTED


def test_readers_of_signals_accept_grown_ones() -> None:
    """With and without re-deriving the ids."""
    for strict in (False, True):
        rules = SignalRules(EpochFilter(), strict=strict)
        reading = rules.take(1, b"user-1", grown(records.signal_bytes()), now_ns=None)
        assert reading.verdict is Verdict.ACCEPTED, reading.detail


def test_control_records_move_the_fold_of_old_readers() -> None:
    """Grown beats and undelivered slots count as before; a kind of a later release is passed over."""
    rules = SignalRules(EpochFilter())
    beat = Beat(epoch=0, cursor={"3": 5}, now_ns=1)

    assert rules.take(1, b"~beat", grown(encode(beat)), None).control == beat
    assert rules.take(2, b"~undelivered", grown(encode(UNDELIVERED)), None).control == UNDELIVERED
    assert rules.take(3, b"~added-later", b'{"schema":"hub.new/1"}', None).verdict is Verdict.CONTROL
    assert rules.cursor == {3: 5, 0: 2}


def test_subscriptions_enter_old_books() -> None:
    """A field of a later release does not unsubscribe anybody."""
    book = Book()
    subscription: Subscription = records.subscription()
    book.apply(subscription.key(), grown(encode(subscription)), 0)

    assert len(book) == 1


def test_records_are_read_nowhere_else() -> None:
    """Who reads a record strictly stops at the first field that a later release adds."""
    rooms = ("deployments", "messaging", "routing", "signals", "storage")
    strict = [
        f"{file.relative_to(ROOT)}: read it with from_record (docs/decisions/0017)"
        for room in rooms
        for file in sorted((ROOT / room).rglob("*.py"))
        if ".model_validate_json(" in file.read_text()
    ]
    assert strict == []
