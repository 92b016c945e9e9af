"""The rules of reading in one partition, record by record, and going on from any place."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deployments.reader.fold import Judged, PartitionFold, expired
from deployments.reader.ports import Settled
from messaging.claims import EpochFilter
from messaging.ports import LogRecord
from models.events import CLAIM_KEY, UNDELIVERED_KEY, Undelivered, UndeliveredReason
from models.signal import Signal
from signals.encoding import encode
from signals.reader import Verdict
from tests.unit.reader.scene import AWAY, HOME, NEIGHBOURS, USER
from tests.unit.signals.records import BAR_MS, CLOSE_MS, NOW_NS, TTL_NS, signal_bytes

HOUR_NS = 3600 * 10**9


def record(offset: int, key: bytes, value: bytes | None, *, partition: int = HOME) -> LogRecord:
    """A record of `user.signals`."""
    return LogRecord("user.signals", partition, offset, NOW_NS // 1_000_000, key, value)


def fold(settled: Settled | None = None) -> PartitionFold:
    """A fold that has seen the claim at offset 0, or goes on from what was settled."""
    if settled:
        return PartitionFold(settled.position, EpochFilter(settled.claims), settled, wanted=lambda _: True)
    made = PartitionFold(0, EpochFilter(), None, wanted=lambda _: True)
    made.take(record(0, CLAIM_KEY, b"{}"), NOW_NS)
    return made


def altered(alter: Callable[[dict[str, Any]], object], **given_: Any) -> bytes:
    """A signal with something changed in it."""
    body = orjson.loads(signal_bytes(**given_))
    alter(body)
    return orjson.dumps(body)


@pytest.mark.parametrize(
    ("key", "value", "verdict"),
    [
        (USER.encode(), b"\xff", Verdict.UNDECODABLE),
        (USER.encode(), None, Verdict.UNDECODABLE),
        (USER.encode(), altered(lambda b: b.update(schema="hub.signal/2")), Verdict.UNDECODABLE),
        (USER.encode(), altered(lambda b: b.pop("schema")), Verdict.UNDECODABLE),
        (USER.encode(), altered(lambda b: b.update(sequence="1")), Verdict.UNDECODABLE),
        (USER.encode(), altered(lambda b: b.update(kind="buy")), Verdict.UNDECODABLE),
        (USER.encode(), altered(lambda b: b.update(reason="x" * 2**20)), Verdict.UNDECODABLE),
        (USER.encode(), altered(lambda b: b.update(account_id="x" * 2**20)), Verdict.UNDECODABLE),
        (USER.encode(), altered(lambda b: b.update(direction=-1)), Verdict.UNDECODABLE),
        (NEIGHBOURS[0].encode(), signal_bytes(), Verdict.MISADDRESSED),
        (AWAY.encode(), signal_bytes(user_id=AWAY), Verdict.MISADDRESSED),
        (USER.encode(), signal_bytes(epoch=5), Verdict.FORGED),
        (USER.encode(), altered(lambda b: b.update(delivery_id="0" * 36)), Verdict.FORGED),
        (USER.encode(), altered(lambda b: b.update(symbol="NZDUSD")), Verdict.FORGED),
        (USER.encode(), signal_bytes(sequence=0), Verdict.FORGED),
    ],
    ids=lambda value: value.value if isinstance(value, Verdict) else "",
)
def test_poison_is_told_apart_and_never_acted_on(key: bytes, value: bytes | None, verdict: Verdict) -> None:
    """Undecodable, another schema or version, fields of a megabyte, a foreign envelope, forged."""
    judged = fold().take(record(1, key, value), NOW_NS)

    assert (judged.verdict, judged.signal) == (verdict, None)
    assert judged.detail


def test_fields_of_a_later_release_are_ignored() -> None:
    """A rolling upgrade may add some."""
    value = altered(lambda body: body.update(comment="new"))

    assert fold().take(record(1, USER.encode(), value), NOW_NS).verdict is Verdict.ACCEPTED


def test_a_signal_of_the_past_is_expired_and_one_of_the_future_is_judged_later() -> None:
    """The fold looks at expiry alone; a clock that disagrees is for the moment of acting."""
    past = altered(lambda b: b.update(generated_ns=NOW_NS - HOUR_NS, expires_ns=NOW_NS - 1))
    future = altered(lambda b: b.update(generated_ns=NOW_NS + HOUR_NS, expires_ns=NOW_NS + 2 * HOUR_NS))

    assert fold().take(record(1, USER.encode(), past), NOW_NS).verdict is Verdict.EXPIRED
    assert fold().take(record(1, USER.encode(), future), NOW_NS).verdict is Verdict.ACCEPTED


def test_a_sequence_that_goes_back_is_dropped() -> None:
    """Without an effect, and without being poison: a retry does that."""
    rules = fold()
    rules.take(record(1, USER.encode(), signal_bytes(sequence=5)), NOW_NS)
    back = rules.take(record(2, USER.encode(), signal_bytes(sequence=3, close_ms=CLOSE_MS + BAR_MS)), NOW_NS)

    assert (back.verdict, back.signal) == (Verdict.OUT_OF_ORDER, None)


def test_an_expired_repeat_is_a_repeat() -> None:
    """So an expiry is put down once."""
    rules, late_ns = fold(), NOW_NS + TTL_NS
    first = rules.take(record(1, USER.encode(), signal_bytes()), late_ns)
    again = rules.take(record(2, USER.encode(), signal_bytes()), late_ns)

    assert (first.verdict, again.verdict) == (Verdict.EXPIRED, Verdict.REPEATED)
    assert first.signal
    assert again.signal is None


@pytest.mark.parametrize(("own_ns", "theirs_ns"), [(7, 0), (0, 7), (3, 4)])
def test_expiry_obeys_the_clock_error_of_both_sides(own_ns: int, theirs_ns: int) -> None:
    """With an uncertain clock a signal expires early by as much."""
    signal = Signal.model_validate_json(signal_bytes(clock_error_ns=theirs_ns))

    assert expired(signal, signal.expires_ns - 7, clock_error_ns=own_ns)
    assert not expired(signal, signal.expires_ns - 8, clock_error_ns=own_ns)


def test_other_users_move_the_fold_and_are_not_read_whole() -> None:
    """What is wrong with them beyond the rules is for those who act on them."""
    rules = PartitionFold(0, EpochFilter(), None, wanted={USER}.__contains__)
    rules.take(record(0, CLAIM_KEY, b"{}"), NOW_NS)
    other = NEIGHBOURS[0]
    value = altered(lambda body: body.update(kind="buy"), user_id=other)

    judged = rules.take(record(1, other.encode(), value), NOW_NS)

    assert (judged.verdict, judged.signal) == (Verdict.ACCEPTED, None)
    assert rules.settled().sequences == {other: 1}


def history(seed: int) -> list[LogRecord]:
    """Owners that come and go, batches that repeat, slots in parts, zombies, holes and poison."""
    rng, log = Random(seed), list[tuple[bytes, bytes | None]]()
    epochs, sequences, users = [0], dict[str, int](), [USER, *NEIGHBOURS[:3]]
    log.append((CLAIM_KEY, b"{}"))
    for slot in range(12):
        if rng.random() < 0.3:
            epochs.append(len(log))
            log.append((CLAIM_KEY, b"{}"))
        parts = rng.choice((1, 1, 2))
        cut = rng.randint(1, len(users) - 1)
        groups = [users] if parts == 1 else [users[:cut], users[cut:]]
        for part, group in enumerate(groups, start=1):
            epoch = rng.choice(epochs) if rng.random() < 0.2 else epochs[-1]
            for user in group:
                sequences[user] = sequences.get(user, 0) + rng.choice((1, 1, 1, 1, 2, 0))
            batch = [_signal(user, slot, epoch, (part, parts), sequences[user]) for user in group]
            log += batch * rng.choice((1, 1, 1, 2))
        if rng.random() < 0.2:
            log.append(_undelivered(slot, epochs[-1]))
        if rng.random() < 0.2:
            log.append((USER.encode(), b"{}"))
    return [record(offset, key, value) for offset, (key, value) in enumerate(log)]


def _signal(  # noqa: PLR0917 - what a signal is made of
    user: str, slot: int, epoch: int, part: tuple[int, int], sequence: int
) -> tuple[bytes, bytes]:
    close_ms = CLOSE_MS + slot * BAR_MS
    raw = signal_bytes(user_id=user, close_ms=close_ms, sequence=max(1, sequence), epoch=epoch, part=part)
    return user.encode(), raw


def _undelivered(slot: int, epoch: int) -> tuple[bytes, bytes]:
    record_ = Undelivered(
        epoch=epoch,
        signal_id="s",
        strategy="alpha@1",
        symbol="EURUSD",
        horizon_ms=60_000,
        bar_close_ms=CLOSE_MS + slot * BAR_MS,
        source_partition=0,
        source_offset=slot,
        reason=UndeliveredReason.EXPIRED,
        subscription_offset=0,
        count=1,
        now_ns=NOW_NS,
    )
    return UNDELIVERED_KEY, encode(record_)


def _said(judged: Judged) -> tuple[int, Verdict, bool, int]:
    return judged.record.offset, judged.verdict, judged.signal is not None, judged.missed


@example(seed=510, cuts={66, 67})
@given(seed=st.integers(0, 10**9), cuts=st.sets(st.integers(1, 120), max_size=12))
@settings(max_examples=60, deadline=None)
def test_going_on_from_any_place_gives_the_same_verdicts(seed: int, cuts: set[int]) -> None:
    """A reader that is restarted between any two records, also within a batch, does what one that lives on
    does. In the example it is restarted twice within one.
    """
    log = history(seed)
    whole = PartitionFold(0, EpochFilter(), None, wanted=lambda _: True)
    expected = [_said(whole.take(one, NOW_NS)) for one in log]

    found, current = [], PartitionFold(0, EpochFilter(), None, wanted=lambda _: True)
    sequences: dict[str, int] = {}
    for one in log:
        if one.offset in cuts:
            place = current.settled()
            sequences.update(place.sequences)
            current = fold(Settled(place.position, place.claims, dict(sequences), place.slots))
        found.append(_said(current.take(one, NOW_NS)))

    assert found == expected
