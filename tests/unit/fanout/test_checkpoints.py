"""Which checkpoint a restore begins with."""

from __future__ import annotations

import asyncio
from random import Random

from deployments.fanout.checkpoints import CheckpointWriter
from messaging.history import latest_checkpoint
from messaging.memory import MemoryBus
from messaging.ports import Record
from messaging.topics import SIGNAL_STATE
from models.events import CHECKPOINT_KEY, Checkpoint
from signals.encoding import encode
from tests.support.virtual_loop import later
from tests.unit.fanout.stage import Stage, play
from tests.unit.signals.records import NOW_NS


def checkpoint(position: int) -> Checkpoint:
    """A fold up to a position."""
    return Checkpoint(
        epoch=0, position=position, claims=(0,), cursor={}, sequences={}, series=(), written_ns=NOW_NS
    )


async def latest(stage: Stage, before: int) -> int | None:
    """Its position."""
    found = await latest_checkpoint(MemoryBus(stage.log, "reader"), 0, before=before)
    return found.position if found else None


def test_the_one_furthest_on_is_taken_not_the_last_written() -> None:
    """A thawed owner may write an old one late; ones beyond the own claim belong to a later owner."""

    async def story(stage: Stage) -> list[int | None]:
        for position in (3, 9, 20, 5):
            stage.land(SIGNAL_STATE.name, 0, Record(CHECKPOINT_KEY, encode(checkpoint(position))))
        return [await latest(stage, 15), await latest(stage, 100), await latest(stage, 2)]

    assert play(story) == [9, 20, None]


def test_what_cannot_be_read_is_passed_over_however_much_it_is() -> None:
    """The search goes back until something is found."""

    async def story(stage: Stage) -> int | None:
        stage.land(SIGNAL_STATE.name, 0, Record(CHECKPOINT_KEY, encode(checkpoint(7))))
        for _ in range(100):
            stage.land(SIGNAL_STATE.name, 0, Record(CHECKPOINT_KEY, b"{}"), Record(b"other", None))
        return await latest(stage, 10)

    assert play(story) == 7


def test_a_newer_offer_takes_the_place_of_one_that_still_waits() -> None:
    """Behind a slow broker checkpoints do not queue up; a failed one is counted and not repeated."""

    async def story(stage: Stage) -> tuple[list[int], int, int]:
        bus = MemoryBus(stage.log, "writer")
        writer = CheckpointWriter(bus, name="w", rng=Random(1), timeout_s=2.0, retry_s=0.1)
        stage.log.faults.lose = 1.0
        running = asyncio.create_task(writer.run())
        for position in (1, 2, 3):
            writer.offer(0, checkpoint(position))
            await later(0.5)
        stage.log.faults.lose = 0.0
        await later(10)
        running.cancel()
        records = stage.log.partition(SIGNAL_STATE.name, 0).records
        positions = [Checkpoint.model_validate_json(record.value or b"").position for record in records]
        return positions, writer.written, writer.failed

    assert play(story) == ([3], 1, 1)
