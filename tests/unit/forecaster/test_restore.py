"""The last bar close of each series, from as little of the log as it takes; void records never count."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from deployments.forecaster.restore import last_closes
from messaging.memory import MemoryBus, MemoryLog
from messaging.ports import Record
from messaging.topics import PREDICTIONS, create_topics
from models.events import CLAIM_KEY
from models.prediction import Slot
from signals.encoding import encode
from signals.reader import Series
from tests.unit.signals.records import BAR_MS, CLOSE_MS, prediction, slot

ALPHA = ("alpha@1", "EURUSD", 60_000)
BETA = ("beta@1", "EURUSD", 60_000)


class Partition:
    """Partition 0, whose broker clock a test sets in seconds."""

    def __init__(self) -> None:
        self.seconds = 1000
        self.log = MemoryLog(Random(1), clock=lambda: self.seconds * 1_000_000_000)
        self.bus = MemoryBus(self.log, "restorer")

    def write(self, key: bytes, value: bytes) -> int:
        """Put a record into the log and return its offset."""
        partition = self.log.partition(PREDICTIONS.name, 0)
        return partition.land([Record(key, value)], self.seconds * 1000)

    def claim(self) -> int:
        return self.write(CLAIM_KEY, b"{}")

    def predict(self, owed: Slot, *, epoch: int) -> int:
        return self.write(b"EURUSD", encode(prediction(owed, epoch=epoch)))

    async def restore(self, *wanted: Series) -> dict[Series, int]:
        """What a new owner that claims now finds, looking 10 seconds back at first, then 100."""
        stop = self.claim() + 1
        return await last_closes(
            self.bus, 0, stop=stop, wanted=wanted, now_ms=self.seconds * 1000, reach_s=(10, 100)
        )


@pytest.fixture
async def partition() -> Partition:
    """An empty partition."""
    made = Partition()
    await create_topics(made.bus, 1)
    return made


async def test_an_empty_partition_knows_no_series(partition: Partition) -> None:
    """The first owner ever starts from nothing."""
    assert await partition.restore(ALPHA) == {}


async def test_a_series_is_found_however_far_back_it_is(partition: Partition) -> None:
    """One series was last written long ago, the other just now."""
    epoch = partition.claim()
    partition.predict(slot(strategy="beta@1"), epoch=epoch)
    partition.seconds += 5000
    partition.predict(slot(CLOSE_MS + BAR_MS), epoch=epoch)

    assert await partition.restore(ALPHA, BETA) == {ALPHA: CLOSE_MS + BAR_MS, BETA: CLOSE_MS}


async def test_no_more_is_folded_than_the_wanted_series_need(partition: Partition) -> None:
    """A series that nobody owes any more does not make the reader go back for it."""
    epoch = partition.claim()
    partition.predict(slot(strategy="beta@1"), epoch=epoch)
    partition.seconds += 50
    partition.predict(slot(), epoch=epoch)

    assert await partition.restore(ALPHA) == {ALPHA: CLOSE_MS}


async def test_void_records_after_the_start_are_not_believed(partition: Partition) -> None:
    """The claim that makes them void lies before the time from which on the log is folded."""
    zombie = partition.claim()
    owner = partition.claim()
    partition.predict(slot(), epoch=owner)
    partition.seconds += 50
    partition.predict(slot(CLOSE_MS + 9 * BAR_MS, strategy="alpha@1"), epoch=zombie)
    partition.predict(slot(CLOSE_MS + BAR_MS), epoch=owner)

    assert await partition.restore(ALPHA) == {ALPHA: CLOSE_MS + BAR_MS}


async def test_nothing_at_or_after_the_claim_is_waited_for(partition: Partition) -> None:
    """The fold ends at the own claim, also if that is the last record."""
    epoch = partition.claim()
    partition.predict(slot(), epoch=epoch)

    async with asyncio.timeout(1):
        assert await partition.restore(ALPHA) == {ALPHA: CLOSE_MS}
