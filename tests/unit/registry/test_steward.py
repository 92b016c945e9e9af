"""Models move by themselves, in the log, with their numbers; and only through the registry that owns it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest

from deployments.registry.lifecycle import promote, register
from deployments.registry.registrations import Ready
from deployments.registry.steward import Steward
from deployments.registry.worker import RegistryWorker
from messaging.memory import MemoryLog
from messaging.topics import MODELS
from models.card import ModelStatus
from models.events import ModelMoved
from models.evidence import ModelEvidence
from routing.evidence.lifecycle import LifecyclePolicy
from tests.support.cards import a_card
from tests.support.eventually import eventually
from tests.unit.registry.test_worker import Checked, catalogue, running
from tests.unit.routing.test_lifecycle_policy import proof

NEW = Ready(a_card("ridge", "2").model_copy(update={"status": ModelStatus.CANDIDATE}), "signed")
REPOSITORY = Checked([a_card("naive"), a_card("ridge"), a_card("logit")])


@pytest.fixture
def log() -> MemoryLog:
    """A broker with the topic of the catalogue."""
    log = MemoryLog(Random(1), clock=time.time_ns)
    log.add_topic(MODELS.name, MODELS.partitions, MODELS.policy)
    return log


def steward_of(
    worker: RegistryWorker, seen: dict[str, ModelEvidence], policy: LifecyclePolicy | None = None
) -> Steward:
    """A steward that looks often."""
    return Steward(
        worker,
        lambda: seen,
        policy or LifecyclePolicy(),
        control="naive",
        clock=time.time_ns,
        period_s=0.01,
    )


@asynccontextmanager
async def stewarded(worker: RegistryWorker, seen: dict[str, ModelEvidence]) -> AsyncIterator[None]:
    """A steward at work."""
    task = asyncio.create_task(steward_of(worker, seen).run())
    try:
        yield
    finally:
        assert not task.done(), task.exception()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def statuses(log: MemoryLog) -> dict[str, str]:
    """What a reader of the log sees."""
    return {str(card.key): card.status.value for card in catalogue(log).cards}


def moves(log: MemoryLog) -> list[ModelMoved]:
    """Every move in the log."""
    records = log.partition(MODELS.name, 0).records
    return [
        ModelMoved.from_record(one.value or b"") for one in records if b'"kind":"moved"' in (one.value or b"")
    ]


async def test_a_newcomer_becomes_live_on_its_evidence(log: MemoryLog) -> None:
    """Each step waits for its proof, is an event with its numbers, and the version before is demoted."""
    seen: dict[str, ModelEvidence] = {}
    async with running(log, REPOSITORY) as worker, stewarded(worker, seen):
        await worker.change(register(NEW), by="root")
        await eventually(lambda: statuses(log)["ridge@2"] == "shadow")

        seen["ridge@2"] = proof(answered=0)
        await eventually(lambda: statuses(log)["ridge@2"] == "canary")

        seen["ridge@2"] = proof(answered=60)
        await eventually(lambda: statuses(log)["ridge@2"] == "live")

    assert statuses(log) == {"naive@1": "live", "logit@1": "live", "ridge@1": "demoted", "ridge@2": "live"}
    made = [(one.model, one.to.value, one.by) for one in moves(log)]
    assert made == [
        ("ridge@2", "shadow", "policy"),
        ("ridge@2", "canary", "policy"),
        ("ridge@2", "live", "policy"),
        ("ridge@1", "demoted", "policy"),
    ]
    assert moves(log)[2].numbers["skill_lower"] == 0.01


async def test_a_model_that_drifts_is_demoted_and_can_be_put_back(log: MemoryLog) -> None:
    """What somebody says afterwards counts, until there is evidence against it again."""
    seen = {"ridge@1": proof(drift=0.1)}
    async with running(log, REPOSITORY) as worker, stewarded(worker, seen):
        await eventually(lambda: statuses(log).get("ridge@1") == "demoted")
        seen.clear()
        await worker.change(promote("ridge@1", "it was the feed"), by="root")
        await eventually(lambda: statuses(log)["ridge@1"] == "live")

    assert [one.by for one in moves(log)] == ["policy", "root"]


async def test_nothing_moves_by_itself_where_that_is_switched_off(log: MemoryLog) -> None:
    """Then every step is somebody's."""
    seen = {"ridge@1": proof(drift=0.1)}
    async with running(log, REPOSITORY) as worker:
        await worker.change(register(NEW), by="root")
        await steward_of(worker, seen, LifecyclePolicy(automatic=False)).look()
        assert moves(log) == []

        await steward_of(worker, seen).look()
        assert {(one.model, one.to.value) for one in moves(log)} == {
            ("ridge@1", "demoted"),
            ("ridge@2", "shadow"),
        }


async def test_a_registry_that_does_not_own_the_catalogue_moves_nothing(log: MemoryLog) -> None:
    """It may know less than the one that does."""
    seen = {"ridge@1": proof(drift=0.1)}
    async with running(log, REPOSITORY, "a") as owner:
        await eventually(lambda: owner.status()["models"] == ["logit@1", "naive@1", "ridge@1"])
        async with running(log, REPOSITORY, "b") as waiting:
            await steward_of(waiting, seen).look()

    assert moves(log) == []
