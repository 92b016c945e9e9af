"""Sequence marks: which signals are marked, where they point, and that nothing waits for them."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from deployments.fanout.checkpoints import CheckpointWriter
from deployments.fanout.marks import Marks
from messaging.memory import MemoryBus
from messaging.ports import Record
from models.events import MARK_EVERY, SequenceMark
from tests.support.virtual_loop import later, until
from tests.unit.fanout.stage import Stage, body, close, home, play
from tests.unit.fanout.test_checkpoints import checkpoint
from tests.unit.fanout.test_worker import follower
from tests.unit.signals.records import prediction, slot


def noted(base: int, users: list[str], sequences: dict[str, int]) -> list[tuple[str, int, int]]:
    """What is marked of one batch with a record for each of the users."""
    marks = Marks()
    marks.note(0, base, [Record(user.encode(), b"") for user in users], sequences)
    found = [SequenceMark.model_validate_json(record.value or b"") for record in marks.take(0)]
    return sorted((mark.user_id, mark.sequence, mark.offset) for mark in found)


def test_each_users_first_signal_and_one_in_every_32_is_marked_at_its_offset() -> None:
    """The first after a multiple, so that who asks for what follows a multiple reads nothing in vain."""
    at = {"a": 1, "b": MARK_EVERY, "c": MARK_EVERY + 1, "d": 7 * MARK_EVERY + 1}

    assert noted(100, ["a", "b", "c", "d"], at) == [
        ("a", 1, 100),
        ("c", MARK_EVERY + 1, 102),
        ("d", 7 * MARK_EVERY + 1, 103),
    ]


@pytest.mark.parametrize("last", range(MARK_EVERY - 2, MARK_EVERY + 6))
def test_users_with_several_accounts_are_marked_at_the_right_one_of_their_records(last: int) -> None:
    """Their sequences end at `last`; the marked one lies before its end by as many records of the user."""
    users = ["a", "b", "a", "b", "a"]
    crossed = MARK_EVERY < last < MARK_EVERY + 4
    place = {1: 4, 2: 2, 3: 0}.get(last - MARK_EVERY)

    marked = [mark for mark in noted(10, users, {"a": last, "b": 9}) if mark[0] == "a"]

    assert marked == ([("a", MARK_EVERY + 1, 10 + place)] if crossed and place is not None else [])


def test_a_worker_marks_where_its_users_signals_are() -> None:
    """At the offset of every mark lies the user's signal with that sequence."""

    async def story(stage: Stage) -> list[tuple[int, bytes, int]]:
        user = "user-1"
        stage.subscribe(follower(user))
        await stage.worker("w", checkpoint_s=0.5).ready()
        for number in range(2 * MARK_EVERY + 1):
            stage.predict(prediction(slot(close(number))))
            await until(lambda n=number: len(stage.signals(user)) > n)  # type: ignore[misc]
        await until(lambda: len(stage.marks(user)) == 3)
        log = {record.offset: record for record in stage.records(user)}
        found = [log[mark["offset"]] for mark in stage.marks(user)]
        return [
            (mark["sequence"], r.key, body(r)["sequence"])
            for mark, r in zip(stage.marks(user), found, strict=True)
        ]

    assert play(story) == [(n, b"user-1", n) for n in (1, MARK_EVERY + 1, 2 * MARK_EVERY + 1)]


def test_marks_go_before_the_checkpoint_and_a_failed_append_is_given_up() -> None:
    """A restore finds the checkpoint last; a hint is worth no second try."""

    async def story(stage: Stage) -> tuple[list[bytes], int, int]:
        bus = MemoryBus(stage.log, "writer")
        writer = CheckpointWriter(bus, name="w", rng=Random(1), timeout_s=2.0, retry_s=0.1)
        running = asyncio.create_task(writer.run())
        partition = home("user-1")
        for sequence, lose in ((1, 1.0), (MARK_EVERY + 1, 0.0)):
            stage.log.faults.lose = lose
            writer.marks.note(partition, sequence, [Record(b"user-1", b"")], {"user-1": sequence})
            writer.offer(partition, checkpoint(sequence))
            await later(10)
        running.cancel()
        return keys(stage), writer.marked, writer.failed

    def keys(stage: Stage) -> list[bytes]:
        records: list[Any] = stage.log.partition("user.signal_state", home("user-1")).records
        return [record.key for record in records]

    assert play(story) == ([b"~mark:user-1:1", b"~checkpoint"], 1, 2)
