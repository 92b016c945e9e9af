"""A process's own copy of the evidence: the one that was folded furthest counts, and the catalogue has it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from random import Random

import pytest

from deployments.router.evidence_tail import EvidenceTail, KnownModels
from messaging.memory import MemoryBus, MemoryLog
from messaging.ports import Record
from messaging.topics import EVIDENCE
from routing.catalogue import Catalogue
from tests.support.cards import a_card
from tests.support.eventually import eventually
from tests.support.live_evidence import observed, seen_on


@dataclass
class Source:
    """A catalogue that a test replaces."""

    catalogue: Catalogue
    complete: bool = True


@pytest.fixture
def log() -> MemoryLog:
    """A broker with the topic of the evidence."""
    log = MemoryLog(Random(1), clock=time.time_ns)
    log.add_topic(EVIDENCE.name, EVIDENCE.partitions, EVIDENCE.policy)
    return log


@pytest.fixture
async def tail(log: MemoryLog) -> AsyncIterator[EvidenceTail]:
    """A tail at work."""
    tail = EvidenceTail(MemoryBus(log, "gateway"), rng=Random(2))
    task = asyncio.create_task(tail.run())
    yield tail
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def write(log: MemoryLog, name: str, cursor: int) -> None:
    """Put a model's evidence into the log."""
    found = observed(name, cursor=cursor, instruments=(seen_on(),))
    record = Record(f"{name}@1".encode(), found.model_dump_json(by_alias=True).encode())
    log.partition(EVIDENCE.name, 0).land([record], timestamp_ms=0)


async def test_the_one_that_was_folded_furthest_counts(log: MemoryLog, tail: EvidenceTail) -> None:
    """A tracker that was replaced may write once more; what it knew is older."""
    write(log, "ridge", 50)
    write(log, "ridge", 20)
    write(log, "mlp", 30)

    await eventually(lambda: set(tail.evidence) == {"ridge@1", "mlp@1"})
    assert tail.evidence["ridge@1"].cursor == 50


async def test_what_cannot_be_read_is_passed_over(log: MemoryLog, tail: EvidenceTail) -> None:
    """One record of another making does not end the tail."""
    log.partition(EVIDENCE.name, 0).land([Record(b"x", b"{}"), Record(b"y", None)], timestamp_ms=0)
    write(log, "ridge", 1)

    await eventually(lambda: "ridge@1" in tail.evidence)


async def test_the_catalogue_is_compiled_anew_only_when_something_changed(
    log: MemoryLog, tail: EvidenceTail
) -> None:
    """Decisions keep what they derived from a catalogue for as long as it is the same object."""
    source = Source(Catalogue.of([a_card("ridge")], version=3))
    known = KnownModels(source, tail)
    before = known.catalogue
    assert known.catalogue is before

    write(log, "ridge", 7)
    await eventually(lambda: known.catalogue.evidence_cursor == 7)
    after = known.catalogue
    assert known.catalogue is after
    assert (after.version, after.cards) == (3, before.cards)

    source.catalogue = Catalogue.of([a_card("ridge"), a_card("mlp")], version=4)
    assert (len(known.catalogue), known.catalogue.evidence_cursor) == (2, 7)
