"""What an owner is owed: from the worker's memory, from Kafka where that begins too late; only if valid."""

from __future__ import annotations

import asyncio
from random import Random

from deployments.fanout.predictions import Inbox, PredictionLog
from messaging.memory import MemoryBus
from messaging.ports import Record
from messaging.topics import PREDICTIONS
from models.events import CLAIM_KEY
from tests.support.virtual_loop import later, until
from tests.unit.fanout.stage import SOURCE, Stage, close, play
from tests.unit.fanout.test_fold import entry
from tests.unit.signals.records import prediction, slot


def predictions(stage: Stage, *, lookback_s: float = 10.0) -> PredictionLog:
    """A log that is being followed."""
    bus = MemoryBus(stage.log, "reader")
    log = PredictionLog(bus, clock=stage.clock, rng=Random(1), lookback_s=lookback_s, retry_s=0.1)
    stage.tasks.append(asyncio.create_task(log.follow()))
    return log


async def taken(inbox: Inbox, count: int) -> list[int]:
    """The offsets of the next entries."""
    offsets = []
    for _ in range(count):
        head = await inbox.head(until_s=asyncio.get_running_loop().time() + 5)
        assert head is not None
        offsets.append(head.offset)
        inbox.done()
    return offsets


def test_an_inbox_holds_its_head_until_it_is_settled() -> None:
    """And its cursor never passes what is not."""

    async def story(_stage: Stage) -> list[int]:
        inbox = Inbox({5: 11}, {5: 13})
        for number in range(3):
            inbox.put(entry(number))
        cursors = [inbox.cursor()[5]]
        for _ in range(2):
            await taken(inbox, 1)
            cursors.append(inbox.cursor()[5])
        return cursors

    assert play(story) == [11, 12, 13]


def test_an_empty_inbox_waits_no_longer_than_told() -> None:
    """So that a beat is never late."""

    async def story(_: Stage) -> tuple[bool, float]:
        head = await Inbox({}, {5: 0}).head(until_s=2.0)
        return head is None, asyncio.get_running_loop().time()

    assert play(story) == (True, 2.0)


def test_an_inbox_opened_behind_the_memory_is_filled_from_the_log() -> None:
    """Nothing between the cursor and now is left out, and nothing comes twice."""

    async def story(stage: Stage) -> list[int]:
        for number in range(3):
            stage.predict(prediction(slot(close(number))), ttl_s=1)
            await later(20)
        log = predictions(stage, lookback_s=5.0)
        await until(lambda: log.positions)
        opening = asyncio.create_task(log.open({SOURCE: 2}))
        stage.predict(prediction(slot(close(3))))
        inbox = await opening
        stage.predict(prediction(slot(close(4))))
        return await taken(inbox, 4)

    assert play(story) == [2, 3, 4, 5]


def test_memory_forgets_what_expired_and_the_log_still_has_it() -> None:
    """A new owner far behind costs a read, not memory."""

    async def story(stage: Stage) -> tuple[int, list[int]]:
        log = predictions(stage, lookback_s=5.0)
        for number in range(3):
            await later(20)
            stage.predict(prediction(slot(close(number))), ttl_s=1)
        await until(lambda: log.positions[SOURCE] == 4)
        kept = sum(map(len, log._kept.values()))
        return kept, await taken(await log.open({}), 3)

    assert play(story) == (1, [1, 2, 3])


def test_a_record_under_a_fenced_claim_is_not_owed() -> None:
    """Also for a reader that begins after the claim that fenced it."""

    async def story(stage: Stage) -> list[int]:
        stage.land(PREDICTIONS.name, SOURCE, Record(CLAIM_KEY, b"{}"))
        await later(60)
        log = predictions(stage, lookback_s=5.0)
        inbox = await log.open({SOURCE: 2})
        stage.predict(prediction(slot(close(0)), epoch=0))
        stage.predict(prediction(slot(close(1)), epoch=1))
        return await taken(inbox, 1)

    assert play(story) == [3]


def test_a_closed_inbox_gets_nothing_more() -> None:
    """What a lost lease leaves behind does not pile up."""

    async def story(stage: Stage) -> int:
        log = predictions(stage)
        inbox = await log.open({})
        log.close(inbox)
        stage.predict(prediction())
        await later(2)
        return len(inbox)

    assert play(story) == 0
