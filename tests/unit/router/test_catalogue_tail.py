"""A process's own copy of the catalogue: follows the log, and outlives registry and broker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from random import Random

import pytest

from deployments.router.catalogue_tail import CatalogueTail
from messaging.memory import MemoryBus, MemoryLog
from messaging.ports import Record
from messaging.topics import MODELS
from models.events import CLAIM_KEY, ModelAdded
from models.metrics import MemoryMeter
from tests.support.cards import a_card
from tests.support.eventually import eventually


@pytest.fixture
def log() -> MemoryLog:
    """A broker with the topic of the catalogue."""
    log = MemoryLog(Random(1), clock=time.time_ns)
    log.add_topic(MODELS.name, MODELS.partitions, MODELS.policy)
    return log


@pytest.fixture
async def tail(log: MemoryLog) -> AsyncIterator[CatalogueTail]:
    """A tail at work."""
    tail = CatalogueTail(
        MemoryBus(log, "gateway"), room="gateway", clock=time.time_ns, rng=Random(2), meter=MemoryMeter()
    )
    task = asyncio.create_task(tail.run())
    yield tail
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def write(log: MemoryLog, *records: Record) -> None:
    """Put records into `hub.models`."""
    log.partition(MODELS.name, 0).land(records, timestamp_ms=0)


def added(name: str, *, epoch: int = 0) -> Record:
    """An event that adds a model."""
    event = ModelAdded(epoch=epoch, card=a_card(name), at_ns=1)
    return Record(f"{name}@1".encode(), event.model_dump_json(by_alias=True).encode())


CLAIM = Record(CLAIM_KEY, b"{}")


async def test_is_empty_before_anything_was_read(log: MemoryLog) -> None:
    """A new tail has a catalogue without models at once, and says that it is not complete."""
    tail = CatalogueTail(
        MemoryBus(log, "gateway"), room="gateway", clock=time.time_ns, rng=Random(2), meter=MemoryMeter()
    )

    assert (len(tail.catalogue), tail.complete, tail.age_s) == (0, False, float("inf"))


async def test_reads_what_is_there_and_follows(log: MemoryLog, tail: CatalogueTail) -> None:
    """Models from before and after the start are in the copy, at the version of the last event."""
    write(log, CLAIM, added("naive"))
    await eventually(lambda: tail.complete and tail.catalogue.version == 1)

    write(log, added("ridge"))
    await eventually(lambda: tail.catalogue.version == 2)

    assert tail.catalogue.keys == ("naive@1", "ridge@1")


async def test_ignores_a_fenced_writer(log: MemoryLog, tail: CatalogueTail) -> None:
    """An event of an older epoch behind a newer claim does not reach the copy."""
    write(log, CLAIM, added("naive"), CLAIM, added("ridge", epoch=0), added("mlp", epoch=2))

    await eventually(lambda: tail.catalogue.version == 4)

    assert tail.catalogue.keys == ("mlp@1", "naive@1")


async def test_works_on_while_the_broker_is_away(log: MemoryLog, tail: CatalogueTail) -> None:
    """The copy stays usable and grows older; when the broker is back, it is brought up to date."""
    write(log, CLAIM, added("naive"))
    await eventually(lambda: tail.complete)
    log.halt()
    before = tail.age_s
    await eventually(lambda: tail.age_s > before + 0.05)
    assert list(tail.catalogue.keys) == ["naive@1"]

    log.resume()
    write(log, added("ridge"))

    await eventually(lambda: list(tail.catalogue.keys) == ["naive@1", "ridge@1"], timeout_s=20)
    await eventually(lambda: tail.age_s < 2)


async def test_keeps_its_copy_of_a_log_that_was_made_anew(log: MemoryLog, tail: CatalogueTail) -> None:
    """A log that ends before what was read of it is not followed: the copy stays, and only grows older."""
    write(log, CLAIM, added("naive"), added("ridge"))
    await eventually(lambda: tail.complete and tail.catalogue.version == 2)

    partition = log.partition(MODELS.name, 0)
    partition.records, partition.end = [], 0
    before = tail.age_s
    write(log, CLAIM, added("mlp"))
    await eventually(lambda: tail.age_s > before + 1.5)

    assert (tail.catalogue.keys, tail.catalogue.version) == (("naive@1", "ridge@1"), 2)


async def test_tells_when_there_is_something_new(log: MemoryLog, tail: CatalogueTail) -> None:
    """Whoever waits gets the version, at once if it is behind already."""
    waiting = asyncio.create_task(tail.changed_since(-1))
    write(log, CLAIM, added("naive"))

    assert await waiting == 1
    assert await tail.changed_since(-1) == 1
    assert list(tail.entries) == ["naive@1"]
