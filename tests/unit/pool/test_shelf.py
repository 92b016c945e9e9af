"""What a replica holds besides its repository: as the catalogue says, and only what the hub signed."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import pytest

from deployments.pool import shelf as shelf_module
from deployments.pool.shelf import Shelf
from deployments.router.catalogue_fold import Entry
from deployments.router.catalogue_tail import CatalogueTail
from deployments.router.execution.worker import InferenceWorker
from deployments.router.replies import Refusal
from inference.signature import Signer, Verifier
from messaging.memory import MemoryBus, MemoryLog
from messaging.ports import Record
from messaging.topics import MODELS
from models.card import ModelCard
from models.events import CLAIM_KEY, CatalogueEvent, ModelAdded, ModelRetired, Origin
from models.metrics import MemoryMeter
from storage.artifact_store import ArtifactStore
from tests.support.cards import a_card
from tests.support.eventually import eventually
from tests.unit.execution.doubles import GatedModel, a_call, a_worker
from tests.unit.inference.tiny import artefact, card_of, constant

SIGNER = Signer("1f" * 32)
OWN = a_card("ridge")
MODEL = artefact()
NEW = ModelCard.model_validate(card_of(MODEL))


class Replica(NamedTuple):
    """A replica's worker and shelf, the log they follow and the store they fetch from."""

    worker: InferenceWorker
    shelf: Shelf
    log: MemoryLog
    store: ArtifactStore
    meter: MemoryMeter

    def counted(self, state: str) -> float:
        """How many models an operator sees in this state."""
        return self.meter.values["hub_registered_models", (("pool", "left"), ("state", state))]

    def says(self, event: CatalogueEvent) -> None:
        """The registry announces it."""
        record = Record(b"model", event.model_dump_json(by_alias=True).encode())
        self.log.partition(MODELS.name, 0).land([record], timestamp_ms=0)

    async def holds(self, model: str) -> bool:
        """Whether a call for the model is answered."""
        call = a_call(model=model)
        return not isinstance(await self.worker.infer(call), Refusal)


Start = Callable[[Callable[[Entry], bool]], Replica]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts replicas that hold `ridge@1` and want the models that they are told to."""
    tasks: list[asyncio.Task[None]] = []
    workers: list[InferenceWorker] = []

    def started(wanted: Callable[[Entry], bool]) -> Replica:
        log, store = MemoryLog(Random(1), clock=time.time_ns), ArtifactStore(str(tmp_path))
        log.add_topic(MODELS.name, MODELS.partitions, MODELS.policy)
        log.partition(MODELS.name, 0).land([Record(CLAIM_KEY, b"{}")], timestamp_ms=0)
        bus = MemoryBus(log, "pool")
        tail = CatalogueTail(bus, room="pool", clock=time.time_ns, rng=Random(2), meter=MemoryMeter())
        worker = a_worker([GatedModel(OWN)], time.time_ns)
        meter = MemoryMeter()
        verifier = Verifier(SIGNER.verify_key)
        shelf = Shelf(tail, worker, store, verifier, pool="left", meter=meter, wanted=wanted)
        tasks.extend(asyncio.create_task(run) for run in (tail.run(), shelf.run()))
        workers.append(worker)
        return Replica(worker, shelf, log, store, meter)

    yield started
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for worker in workers:
        worker.close()


def everything(_: Entry) -> bool:
    """Every model is wanted."""
    return True


def added(card: ModelCard = NEW, signature: str | None = None) -> ModelAdded:
    """The announcement of a registered model."""
    return ModelAdded(
        epoch=0,
        card=card,
        at_ns=1,
        origin=Origin.REGISTERED,
        signature=SIGNER.sign(card) if signature is None else signature,
    )


async def test_loads_what_is_announced_and_drops_what_is_retired(start: Start) -> None:
    """While it answers for its own; the routers are told what it holds now."""
    replica = start(everything)
    replica.store.put(MODEL)

    replica.says(added())
    await eventually(lambda: replica.holds("tiny@1"))
    assert list(replica.shelf.profiles()) == ["tiny@1"]

    replica.says(ModelRetired(epoch=0, model="tiny@1", reason="x", at_ns=1))
    await eventually(lambda: replica.shelf.profiles() == {})
    assert not await replica.holds("tiny@1")
    assert await replica.holds("ridge@1")


async def test_leaves_what_belongs_elsewhere_and_what_is_on_disk(start: Start) -> None:
    """A model of the repository is loaded from there, or not at all."""
    replica = start(lambda entry: entry.card.name != "tiny")
    replica.store.put(MODEL)
    other = NEW.model_copy(update={"name": "other"})

    replica.says(added())
    replica.says(ModelAdded(epoch=0, card=NEW.model_copy(update={"name": "disk"}), at_ns=1))
    replica.says(added(other))
    await eventually(lambda: replica.holds("other@1"))

    assert list(replica.shelf.profiles()) == ["other@1"]


async def test_a_file_that_was_changed_is_refused_and_keeps_no_other_waiting(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytes are not those that were signed; once they are again, it is loaded."""
    monkeypatch.setattr(shelf_module, "_LOOK_S", 0.02)
    replica = start(everything)
    digest = replica.store.put(MODEL)
    (tmp_path / digest).write_bytes(MODEL[:-1] + b"x")
    other = artefact(constants=(constant("spare", np.zeros(1, np.float32)),))
    good = NEW.model_copy(update={"name": "good", "sha256": replica.store.put(other)})

    replica.says(added())
    replica.says(added(good))
    await eventually(lambda: "tiny@1" in replica.shelf.refused)
    await eventually(lambda: replica.holds("good@1"))
    assert "was changed" in replica.shelf.refused["tiny@1"]
    await eventually(lambda: (replica.counted("held"), replica.counted("refused")) == (1, 1))
    assert not await replica.holds("tiny@1")

    (tmp_path / digest).write_bytes(MODEL)
    await eventually(lambda: replica.holds("tiny@1"))
    assert replica.shelf.refused == {}


@pytest.mark.parametrize("wrong", ["unsigned", "another's key", "another model's signature", "older"])
async def test_what_the_hub_did_not_sign_is_never_loaded(start: Start, wrong: str) -> None:
    """Nor an artefact under a name or version for which it was not signed."""
    replica = start(everything)
    replica.store.put(MODEL)
    newer = NEW.model_copy(update={"version": "2"})
    signature = {
        "unsigned": "",
        "another's key": Signer("2e" * 32).sign(newer),
        "another model's signature": SIGNER.sign(a_card("other", sha256=NEW.sha256)),
        "older": SIGNER.sign(NEW),
    }[wrong]

    replica.says(added(newer, signature))
    await eventually(lambda: replica.shelf.refused)

    assert "not signed by this hub" in replica.shelf.refused["tiny@2"]
    assert replica.shelf.profiles() == {}


async def test_a_missing_file_is_asked_for_again(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store may be behind, or away for a while."""
    monkeypatch.setattr(shelf_module, "_LOOK_S", 0.02)
    replica = start(everything)

    replica.says(added())
    await eventually(lambda: "no artefact" in replica.shelf.refused.get("tiny@1", ""))
    replica.store.put(MODEL)

    await eventually(lambda: replica.holds("tiny@1"))


def test_the_artefact_of_these_tests_is_what_its_card_says() -> None:
    """Otherwise the refusals above would prove nothing."""
    assert hashlib.sha256(MODEL).hexdigest() == NEW.sha256
