"""What a replica holds besides its repository: as the catalogue says, and only what the hub signed."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from deployments.pool import shelf as shelf_module
from deployments.pool.loader import Loader
from deployments.pool.placement import Part
from deployments.pool.shelf import Shelf
from deployments.router.catalogue_fold import Entry
from deployments.router.replies import Refusal
from inference.signature import Signer, Verifier
from messaging.memory import MemoryLog
from models.card import ModelCard
from models.events import CatalogueEvent, ModelAdded, ModelRetired
from storage.artifact_store import ArtifactStore
from tests.support.cards import a_card, an_ensemble
from tests.support.eventually import eventually
from tests.unit.execution.doubles import a_call
from tests.unit.inference.tiny import artefact, card_of, constant
from tests.unit.pool.replicas import Replica, a_log, announced, running, says

SIGNER = Signer("1f" * 32)
MODEL = artefact()
NEW = ModelCard.model_validate(card_of(MODEL))


class Following(NamedTuple):
    """A replica, the log that it follows and the store that it fetches from."""

    replica: Replica
    log: MemoryLog
    store: ArtifactStore

    @property
    def shelf(self) -> Shelf:
        return self.replica.shelf

    def says(self, event: CatalogueEvent) -> None:
        """The registry announces it."""
        says(self.log, event)

    async def holds(self, model: str) -> bool:
        """Whether a call for the model is answered."""
        return not isinstance(await self.replica.worker.infer(a_call(model=model)), Refusal)


Start = Callable[[Callable[[Entry], bool]], Awaitable[Following]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts replicas that hold `ridge@1` and want the models that they are told to."""
    async with AsyncExitStack() as stack:

        async def started(wanted: Callable[[Entry], bool]) -> Following:
            log, store = a_log(), ArtifactStore(str(tmp_path))
            loader = Loader(store, Verifier(SIGNER.verify_key))
            part = Part(offers=wanted, loads=everything)
            return Following(await stack.enter_async_context(running(loader, log, part=part)), log, store)

        yield started


def everything(_: Entry) -> bool:
    """Every model is wanted."""
    return True


def added(card: ModelCard = NEW, signature: str | None = None) -> ModelAdded:
    """The announcement of a registered model."""
    return announced(card, SIGNER.sign(card) if signature is None else signature)


async def test_loads_what_is_announced_and_drops_what_is_retired(start: Start) -> None:
    """While it answers for its own; the routers are told what it holds now."""
    replica = await start(everything)
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
    replica = await start(lambda entry: entry.card.name != "tiny")
    replica.store.put(MODEL)
    other = NEW.model_copy(update={"name": "other"})

    replica.says(added())
    replica.says(ModelAdded(epoch=0, card=NEW.model_copy(update={"name": "disk"}), at_ns=1))
    replica.says(added(other))
    await eventually(lambda: replica.holds("other@1"))

    assert list(replica.shelf.profiles()) == ["other@1"]


async def test_an_ensemble_is_passed_over(start: Start) -> None:
    """Its artefact is a recipe, which callers follow: it is neither loaded nor refused."""
    replica = await start(everything)
    replica.store.put(MODEL)

    replica.says(added(an_ensemble()))
    replica.says(added())
    await eventually(lambda: replica.holds("tiny@1"))

    assert list(replica.shelf.profiles()) == ["tiny@1"]
    assert replica.shelf.refused == {}


async def test_a_file_that_was_changed_is_refused_and_keeps_no_other_waiting(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytes are not those that were signed; once they are again, it is loaded."""
    monkeypatch.setattr(shelf_module, "_LOOK_S", 0.02)
    replica = await start(everything)
    digest = replica.store.put(MODEL)
    (tmp_path / digest).write_bytes(MODEL[:-1] + b"x")
    other = artefact(constants=(constant("spare", np.zeros(1, np.float32)),))
    good = NEW.model_copy(update={"name": "good", "sha256": replica.store.put(other)})

    replica.says(added())
    replica.says(added(good))
    await eventually(lambda: "tiny@1" in replica.shelf.refused)
    await eventually(lambda: replica.holds("good@1"))
    assert "was changed" in replica.shelf.refused["tiny@1"]
    await eventually(lambda: (replica.replica.counted("held"), replica.replica.counted("refused")) == (1, 1))
    assert not await replica.holds("tiny@1")

    (tmp_path / digest).write_bytes(MODEL)
    await eventually(lambda: replica.holds("tiny@1"))
    assert replica.shelf.refused == {}


@pytest.mark.parametrize("wrong", ["unsigned", "another's key", "another model's signature", "older"])
async def test_what_the_hub_did_not_sign_is_never_loaded(start: Start, wrong: str) -> None:
    """Nor an artefact under a name or version for which it was not signed."""
    replica = await start(everything)
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
    replica = await start(everything)

    replica.says(added())
    await eventually(lambda: "no artefact" in replica.shelf.refused.get("tiny@1", ""))
    replica.store.put(MODEL)

    await eventually(lambda: replica.holds("tiny@1"))


def test_the_artefact_of_these_tests_is_what_its_card_says() -> None:
    """Otherwise the refusals above would prove nothing."""
    assert hashlib.sha256(MODEL).hexdigest() == NEW.sha256
