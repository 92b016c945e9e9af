"""Decisions on record in `hub.decisions`, whatever the broker and the fast store do meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from deployments.gateway.decisions import QUEUE, DecisionLog
from messaging.ports import LogRecord
from messaging.topics import DECISIONS, partition_of
from models.errors import NotFound, StoreUnavailable
from models.outcome import OutcomeRecord, RecordedDecision
from storage.memory import MemoryFastStore
from storage.ports import Key
from tests.support.eventually import eventually
from tests.unit.gateway.doubles import TestHub, decision, inputs, principal


class AwayStore(MemoryFastStore):
    """A store that is away."""

    async def put(self, key: Key, value: bytes, *, ttl_s: float) -> None:
        raise StoreUnavailable("away")


async def test_each_decision_is_recorded_under_its_id(hub: TestHub) -> None:
    """In the partition of its id, with the tenant beside it."""
    log = hub.services.decisions
    async with running(log):
        for number in range(20):
            await log.remember(principal(), decision(f"{number:032x}"))
        await eventually(lambda: recorded(hub) == 20)

    for partition in range(DECISIONS.partitions):
        for record in records(hub, partition):
            assert partition_of(record.key, DECISIONS.partitions) == partition
            assert (
                RecordedDecision.model_validate_json(record.value or b"").decision_id.encode() == record.key
            )
            assert record.headers == (("tenant-id", b"acme"),)


async def test_an_answer_is_recorded_with_what_became_of_it(hub: TestHub) -> None:
    """In the log and for the caller alike; a decision that nothing came of says so."""
    outcome = OutcomeRecord(met=False, elapsed_ms=120.5, attempts=2, inference_ms=3.5, queue_ms=100.0)
    log = hub.services.decisions
    async with running(log):
        await log.remember(principal(), decision("a" * 32), outcome)
        await log.remember(principal(), decision("b" * 32))
        await eventually(lambda: recorded(hub) == 2)

    logged = {
        record.key: RecordedDecision.model_validate_json(record.value or b"")
        for partition in range(DECISIONS.partitions)
        for record in records(hub, partition)
    }
    for key, expected in (("a" * 32, outcome), ("b" * 32, None)):
        assert logged[key.encode()] == await log.recall(principal(), key)
        assert logged[key.encode()].outcome == expected


async def test_an_inference_leaves_its_outcome(hub: TestHub) -> None:
    """Over HTTP, with the deadline of the request."""
    body = {"task": "time_series_forecast", "inputs": inputs(), "max_latency_ms": 50}
    answer = await hub.client.post("/api/v1/infer", json=body, headers=hub.auth())
    choice = answer.json()["choice"]
    kept = await hub.client.get(f"/api/v1/decisions/{choice['decision_id']}", headers=hub.auth())

    assert kept.json()["outcome"] == {
        "met": True,
        "elapsed_ms": 0.0,
        "attempts": 1,
        "inference_ms": 0.5,
        "queue_ms": 0.01,
        "error": None,
        "detail": None,
    }


async def test_a_broker_that_is_away_costs_decisions_and_no_time(hub: TestHub) -> None:
    """The queue is bounded: what does not fit is counted, and nobody waited."""
    log = hub.services.decisions
    hub.log.cut("gateway")
    async with asyncio.timeout(30):
        for number in range(QUEUE + 5):
            await log.remember(principal(), decision(f"{number:032x}"))

    dropped = (("outcome", "dropped"), ("topic", DECISIONS.name))
    assert hub.meter.values["hub_append_total", dropped] == 5


async def test_recording_goes_on_after_a_refusal_and_an_unknown_outcome(hub: TestHub) -> None:
    """Both are counted; the next decision is recorded."""
    log = hub.services.decisions
    async with running(log):
        hub.log.faults.refuse = 1.0
        await log.remember(principal(), decision("a" * 32))
        await eventually(lambda: counted(hub, "refused") == 1)
        hub.log.faults.refuse = 0.0
        await log.remember(principal(), decision("b" * 32))
        await eventually(lambda: recorded(hub) == 1)


async def test_what_was_decided_last_is_recorded_at_the_end(hub: TestHub) -> None:
    """A gateway that ends does not drop what it has just collected."""
    log = hub.services.decisions
    async with running(log):
        await log.remember(principal(), decision("a" * 32))
        await eventually(lambda: recorded(hub) == 1)
        for number in range(700):
            await log.remember(principal(), decision(f"{number:032x}"))

    assert recorded(hub) == 701


async def test_the_end_does_not_wait_for_a_broker_that_is_away(hub: TestHub) -> None:
    """What could not be recorded in time is counted."""
    log = hub.services.decisions
    async with running(log):
        await log.remember(principal(), decision("a" * 32))
        await eventually(lambda: recorded(hub) == 1)
        hub.log.cut("gateway")
        for number in range(700):
            await log.remember(principal(), decision(f"{number:032x}"))

    assert recorded(hub) == 1
    assert counted(hub, "dropped") + counted(hub, "unknown") + counted(hub, "refused") >= 200


async def test_without_the_fast_store_the_request_goes_on(hub: TestHub) -> None:
    """The decision is recorded, only not at hand."""
    store = AwayStore(hub.clock)
    log = DecisionLog(store=store, bus=hub.bus, meter=hub.meter)
    async with running(log):
        await log.remember(principal(), decision("a" * 32))
        await eventually(lambda: recorded(hub) == 1)

    with pytest.raises(NotFound):
        await log.recall(principal(), "a" * 32)


async def test_a_decision_is_at_hand_from_the_first_moment_on(hub: TestHub) -> None:
    """Before it is in the store, after it is there, and after the end of the task that puts it there."""
    log = hub.services.decisions
    await log.remember(principal(), decision("a" * 32))
    first = await log.recall(principal(), "a" * 32)
    async with running(log):
        await eventually(lambda: not log._unkept)
        assert await log.recall(principal(), "a" * 32) == first
        await log.remember(principal(), decision("b" * 32))

    other = DecisionLog(store=hub.services.decisions._store, bus=hub.bus, meter=hub.meter)
    assert (await other.recall(principal(), "b" * 32)).decision_id == "b" * 32


@asynccontextmanager
async def running(log: DecisionLog) -> AsyncIterator[None]:
    """The log's task, for as long as the block."""
    task = asyncio.create_task(log.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def records(hub: TestHub, partition: int) -> list[LogRecord]:
    """What a partition of the topic holds."""
    return hub.log.partition(DECISIONS.name, partition).records


def recorded(hub: TestHub) -> int:
    """How many decisions are in the log."""
    return sum(len(records(hub, partition)) for partition in range(DECISIONS.partitions))


def counted(hub: TestHub, outcome: str) -> float:
    """How many records had this outcome."""
    return hub.meter.values.get(("hub_append_total", (("outcome", outcome), ("topic", DECISIONS.name))), 0.0)
