"""The tracker judges every forecast exactly once, whatever becomes of trackers and acknowledgements."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from random import Random

import pytest

from messaging.memory import MemoryBus, MemoryLog
from messaging.ports import Record
from messaging.topics import EVIDENCE, OUTCOMES
from models.evidence import ModelEvidence, Outcome
from tests.support.eventually import eventually
from tests.unit.signals.records import BAR_MS, CLOSE_MS
from tests.unit.tracker.market import HORIZON, SYMBOLS, market, read, tracking

BARS = 40


@pytest.fixture
def log() -> MemoryLog:
    """A broker."""
    return MemoryLog(Random(1), clock=time.time_ns)


def moments(bars: int) -> Counter[tuple[str, int]]:
    """Every moment whose horizon has passed within so many bars, once."""
    return Counter((symbol, CLOSE_MS + bar * BAR_MS) for symbol in SYMBOLS for bar in range(bars - HORIZON))


def judged(outcomes: list[Outcome]) -> Counter[tuple[str, int]]:
    """The moments that `ridge` was judged on."""
    return Counter(
        (one.symbol, one.bar_close_ms) for one in outcomes for trial in one.trials if trial.model == "ridge@1"
    )


def evidence(log: MemoryLog) -> dict[str, ModelEvidence]:
    """The newest evidence of each model."""
    records = log.partition(EVIDENCE.name, 0).records
    found = [ModelEvidence.from_record(record.value or b"") for record in records]
    return {one.model: one for one in sorted(found, key=lambda one: one.cursor)}


def told(log: MemoryLog, model: str) -> int:
    """How many outcomes the newest evidence of a model is made of."""
    found = evidence(log).get(model)
    return found.outcomes if found else 0


async def test_every_forecast_is_judged_once_its_horizon_has_passed(log: MemoryLog) -> None:
    """Of both symbols, those that answered and those beside them; and the evidence says what it comes to."""
    await market(log, BARS)
    async with tracking(log):
        await eventually(lambda: judged(read(log)[1]) == moments(BARS))
        _, outcomes = read(log)
        beside = Counter(trial.model for one in outcomes for trial in one.trials if not trial.answered)
        await eventually(lambda: told(log, "ridge@1") == 2 * (BARS - HORIZON))

    assert beside == {"naive@1": 2 * (BARS - HORIZON)}
    assert all(one.control == "naive@1" for one in outcomes)
    found = evidence(log)["ridge@1"]
    assert (found.cursor, found.answered) == (
        log.partition(OUTCOMES.name, 0).records[-1].offset,
        found.outcomes,
    )
    assert found.calibration is not None


async def test_a_successor_goes_on_where_the_log_says(log: MemoryLog) -> None:
    """Nothing is judged twice, nothing is left out, and the evidence is that of one tracker alone."""
    forecasters = await market(log, 20)
    async with tracking(log, "a"):
        await eventually(lambda: judged(read(log)[1]) == moments(20))
    await forecasters.bars(20)
    async with tracking(log, "b"):
        await eventually(lambda: judged(read(log)[1]) == moments(40))
        await eventually(lambda: told(log, "naive@1") == 2 * (40 - HORIZON))

    assert evidence(log)["naive@1"] == read(log)[0].fold.evidence("naive@1")


async def test_a_second_tracker_waits(log: MemoryLog) -> None:
    """One judges; the other takes over when it is gone."""
    forecasters = await market(log, 20)
    async with tracking(log, "b"):
        async with tracking(log, "a"):
            await eventually(lambda: judged(read(log)[1]) == moments(20))
        await forecasters.bars(10)
        await eventually(lambda: judged(read(log)[1]) == moments(30), timeout_s=30)


@pytest.mark.parametrize("seed", range(8))
async def test_trackers_that_die_at_any_moment_judge_nothing_twice(log: MemoryLog, seed: int) -> None:
    """Killed at random moments, with half of the acknowledgements lost."""
    rng = Random(seed)
    forecasters = await market(log, 10)
    log.faults.lose_ack = 0.5
    for life in range(4):
        async with tracking(log, f"t{seed}-{life}"):
            await asyncio.sleep(rng.uniform(0.0, 0.15))
        log.faults.lose_ack = 0.0
        await forecasters.bars(5)
        log.faults.lose_ack = 0.5
    log.faults.lose_ack = 0.0
    async with tracking(log, "last"):
        await eventually(lambda: judged(read(log)[1]) == moments(30), timeout_s=30)


async def test_what_a_fenced_tracker_wrote_counts_for_nobody(log: MemoryLog) -> None:
    """Its outcomes lie behind the claim of another; every reader and every successor passes them over."""
    await market(log, 20)
    async with tracking(log, "a"):
        await eventually(lambda: judged(read(log)[1]) == moments(20))
    stale = read(log)[1][-1].model_copy(update={"epoch": 0, "bar_close_ms": CLOSE_MS + 99 * BAR_MS})
    async with tracking(log, "b") as worker:
        await eventually(lambda: worker.status()["live"])
    producer = await MemoryBus(log, "stale").producer("stale")
    late = Record(b"EURUSD", stale.model_dump_json(by_alias=True).encode())
    await producer.append(OUTCOMES.name, 0, [late], timeout_s=5)

    fold, outcomes = read(log)
    assert judged(outcomes) == moments(20)
    assert fold.skipped == 1


async def test_what_cannot_be_read_stops_nobody(log: MemoryLog) -> None:
    """Garbage among the predictions and among the outcomes is passed over."""
    forecasters = await market(log, 20)
    await forecasters.append("EURUSD", [Record(b"EURUSD", b"\x00"), Record(b"~shadow", b"{}")])
    producer = await MemoryBus(log, "other").producer("other")
    await producer.append(OUTCOMES.name, 0, [Record(b"EURUSD", b"no outcome")], timeout_s=5)
    await forecasters.bars(10)
    async with tracking(log) as worker:
        await eventually(lambda: judged(read(log)[1]) == moments(30))
        assert worker.status()["live"]
