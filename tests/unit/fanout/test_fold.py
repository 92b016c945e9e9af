"""An owner's fold moves as the readers' would, and batches are cut so that each is one append."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.fanout.batches import Ahead, Batch, Renderer, Turns
from deployments.fanout.fold import Fold
from deployments.fanout.predictions import Entry
from messaging.claims import EpochFilter
from messaging.ports import LogRecord
from messaging.sizes import BATCH_OVERHEAD, RECORD_OVERHEAD, fitting
from models.strategy import TargetFractionPolicy
from signals.book import Subscriber
from signals.encoding import Outcome
from signals.halts import Halts
from signals.reader import SignalRules
from signals.terms import Terms
from tests.unit.signals.records import CLOSE_MS, NOW_NS, prediction, slot, subscription

CLAIM = 4


def entry(number: int = 0) -> Entry:
    """The prediction of a slot, at offset 10 + its number."""
    owed = prediction(slot(CLOSE_MS + number * 10_000))
    place = LogRecord("hub.predictions", 5, 10 + number, NOW_NS // 1_000_000, b"EURUSD", b"")
    return Entry(place, owed, taken_ns=NOW_NS)


def people(count: int, *, accounts: int = 1) -> list[Subscriber]:
    """Subscribers in the order of a book."""
    return [
        Subscriber.of(subscription(f"user-{number:02d}", f"account-{account}"))
        for number in range(count)
        for account in range(accounts)
    ]


def renderer(one: Entry, fold: Fold) -> Renderer:
    """A renderer under the claim at offset 4."""
    ahead = Ahead(fold.rules.holdings.above())
    return Renderer(
        entry=one,
        body=one.body(TargetFractionPolicy(), clock_error_ns=0),
        terms=Terms(one.owed, holdings=ahead.holdings, halts=Halts()),
        epoch=CLAIM,
        subscription_offset=9,
        sequences=fold.rules.sequences,
        ahead=ahead.sequences,
        clock=lambda: NOW_NS,
        turns=Turns(),
    )


def empty_fold() -> Fold:
    """The fold of a partition with nothing but a claim."""
    return Fold(SignalRules(EpochFilter([CLAIM])), EpochFilter([CLAIM]))


def batch(one: Entry, fold: Fold, who: Sequence[Subscriber], part: tuple[int, int] = (1, 1)) -> Batch:
    """Rendered at once."""
    render = renderer(one, fold)
    return asyncio.run(render.batch(who, outcomes(render, who), part))


def outcomes(render: Renderer, who: Sequence[Subscriber]) -> list[Outcome]:
    """What they are asked for."""
    return asyncio.run(render.outcomes(who))


@given(sizes=st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=3), min_size=1, max_size=4))
def test_a_fold_moved_by_its_own_batches_equals_one_that_read_them(sizes: list[list[int]]) -> None:
    """Every slot in one or several parts: sequences, cursor, last slots and openness are the readers' own."""
    fold, readers, offset = empty_fold(), SignalRules(EpochFilter([CLAIM])), CLAIM + 1
    for number, parts in enumerate(sizes):
        one, everybody = entry(number), people(sum(parts), accounts=1)
        for index, size in enumerate(parts, start=1):
            who, everybody = everybody[:size], everybody[size:]
            sent = batch(one, fold, who, (index, len(parts)))
            fold.published(sent, position=offset + size)
            for place, record in enumerate(sent.records, start=offset):
                readers.take(place, record.key, record.value, None)
            offset += size

            assert fold.rules.sequences == readers.sequences
            assert fold.rules.cursor == readers.cursor
            assert fold.rules.series == readers.series
            assert fold.rules.position == readers.position
            assert (fold.rules.open_slot is None) == (readers.open_slot is None)
            assert fold.rules.holdings.held == readers.holdings.held


def test_two_accounts_of_a_user_share_one_sequence() -> None:
    """The second account's number follows the first one's."""
    sent = batch(entry(), empty_fold(), people(2, accounts=2))

    assert sent.sequences == {"user-00": 2, "user-01": 2}


@pytest.mark.parametrize(("capacity", "sizes"), [(10, [5]), (2, [2, 2, 1]), (1, [1] * 5), (0, [])])
def test_a_slot_is_cut_to_what_one_append_takes(capacity: int, sizes: list[int]) -> None:
    """Greedily, in order; not at all if not even one record fits."""
    one = batch(entry(), empty_fold(), people(1), (9999, 9999)).records[0]
    room = BATCH_OVERHEAD + capacity * (RECORD_OVERHEAD + len(one.key) + len(one.value or b"") + _SLACK)

    render, who = renderer(entry(), empty_fold()), people(5)
    assert render.cut(who, outcomes(render, who), room) == sizes


@given(room=st.integers(2_000, 9_000), count=st.integers(1, 30), part=st.integers(1, 9999))
def test_what_is_cut_fits(room: int, count: int, part: int) -> None:
    """Sizes are reckoned before anything is rendered, and never too small."""
    render, who = renderer(entry(), empty_fold()), people(count)

    for size in render.cut(who, outcomes(render, who), room):
        sent = asyncio.run(render.batch(who[:size], outcomes(render, who[:size]), (part, 9999)))
        assert fitting(sent.records, room) == size
        who = who[size:]
    assert who == []


def test_a_fold_with_an_open_slot_is_not_checkpointed() -> None:
    """A checkpoint could not say who has it already."""
    fold, one, who = empty_fold(), entry(), people(4)
    fold.published(batch(one, fold, who[:2], (1, 2)), position=7)
    between = fold.checkpoint(epoch=CLAIM, now_ns=NOW_NS)
    fold.published(batch(one, fold, who[2:], (2, 2)), position=9)
    after = fold.checkpoint(epoch=CLAIM, now_ns=NOW_NS)

    assert between is None
    assert after is not None
    assert (after.position, after.claims, after.cursor) == (9, (CLAIM,), {"5": 11})


_SLACK = 19
"""A sequence is reckoned with 20 digits, and these have one."""
