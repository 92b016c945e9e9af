"""The registry brings `hub.models` in line with its repository, as the one claimed writer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import pytest

from deployments.registry import worker as worker_module
from deployments.registry.lifecycle import promote, register
from deployments.registry.registrations import Ready
from deployments.registry.worker import RegistryWorker
from deployments.router.catalogue_fold import CatalogueFold
from messaging.memory import MemoryBus, MemoryLog
from messaging.topics import MODELS
from models.card import ModelCard
from models.errors import AlreadyRegistered, CardRejected, NotFound, RegistryAway
from models.events import CLAIM_KEY
from models.metrics import MemoryMeter
from tests.support.cards import a_card
from tests.support.eventually import eventually

READY = Ready(a_card("new"), "signed")


@dataclass(frozen=True)
class Checked:
    """A repository that was checked."""

    cards: Sequence[ModelCard]
    rejected: dict[str, CardRejected] = field(default_factory=dict)


@pytest.fixture
def log() -> MemoryLog:
    """A broker with the topic of the catalogue."""
    log = MemoryLog(Random(1), clock=time.time_ns)
    log.add_topic(MODELS.name, MODELS.partitions, MODELS.policy)
    return log


@asynccontextmanager
async def running(log: MemoryLog, repository: Checked, name: str = "a") -> AsyncIterator[RegistryWorker]:
    """A registry at work, until it owns the catalogue and has published."""
    worker = RegistryWorker(
        MemoryBus(log, f"registry-{name}"),
        repository,
        name=name,
        clock=time.time_ns,
        rng=Random(2),
        meter=MemoryMeter(),
    )
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def published(log: MemoryLog, repository: Checked) -> list[str]:
    """Run a registry until the catalogue equals its repository; the keys of all records then in the log."""
    async with running(log, repository) as worker:
        wanted = sorted(str(card.key) for card in repository.cards)
        await eventually(lambda: worker.status()["live"] and worker.status()["models"] == wanted)
        return keys(log)


def keys(log: MemoryLog) -> list[str]:
    """Keys of all records in `hub.models`."""
    return [record.key.decode() for record in log.partition(MODELS.name, 0).records]


def catalogue(log: MemoryLog) -> CatalogueFold:
    """What a reader that starts now makes of the log."""
    fold = CatalogueFold()
    fold.take_all(log.partition(MODELS.name, 0).records)
    return fold


async def test_publishes_the_repository(log: MemoryLog) -> None:
    """After its claim it appends one event per accepted card."""
    assert await published(log, Checked([a_card("naive"), a_card("ridge")])) == [
        "~claim",
        "naive@1",
        "ridge@1",
    ]

    assert [card.name for card in catalogue(log).cards] == ["naive", "ridge"]


async def test_a_restart_appends_nothing_but_its_claim(log: MemoryLog) -> None:
    """What is already in the catalogue is not announced again."""
    repository = Checked([a_card("naive"), a_card("ridge")])
    before = await published(log, repository)

    assert await published(log, repository) == [*before, "~claim"]


async def test_publishes_only_what_changed(log: MemoryLog) -> None:
    """A new version is added, a missing one retired, an altered card announced again; the rest is silent."""
    before = await published(log, Checked([a_card("naive"), a_card("ridge"), a_card("mlp")]))

    after = await published(log, Checked([a_card("naive"), a_card("ridge", "2"), a_card("mlp", cost=9)]))

    assert after[len(before) :] == ["~claim", "ridge@2", "mlp@1", "ridge@1"]
    assert {str(card.key): card.cost for card in catalogue(log).cards} == {
        "naive@1": 1.0,
        "ridge@2": 1.0,
        "mlp@1": 9.0,
    }


async def test_lists_what_was_refused_and_why(log: MemoryLog) -> None:
    """A refused card is not published; the status names its directory and the reason."""
    repository = Checked([a_card("naive")], {"bad/1": CardRejected("sha256 was wrong")})
    async with running(log, repository) as worker:
        await eventually(lambda: worker.status()["live"])

        assert worker.status()["refused"] == {"bad/1": "sha256 was wrong"}


async def test_two_registries_leave_one_catalogue(log: MemoryLog) -> None:
    """With two members that both believe to own the log, the later claim decides and nobody else writes."""
    async with running(log, Checked([a_card("naive")]), "a") as first:
        await eventually(lambda: first.status()["live"])
        log.group("hub-registry", MODELS.name).share(0)
        async with running(log, Checked([a_card("naive"), a_card("ridge")]), "b") as second:
            await eventually(lambda: len(second.status()["models"]) == 2)

            assert [card.name for card in catalogue(log).cards] == ["naive", "ridge"]
            assert keys(log).count("naive@1") == 1


async def test_survives_lost_acknowledgements(log: MemoryLog) -> None:
    """An append of unknown outcome ends in a new claim and a catalogue without repeats."""
    log.faults.lose_ack = 0.5
    repository = Checked([a_card(f"m{number}") for number in range(4)])
    async with running(log, repository) as worker:
        await eventually(lambda: worker.status()["live"], timeout_s=60)

    assert sorted(card.name for card in catalogue(log).cards) == ["m0", "m1", "m2", "m3"]
    events = [key for key in keys(log) if key != CLAIM_KEY.decode()]
    assert len(events) == 4


async def test_a_registered_model_is_there_for_every_reader(log: MemoryLog) -> None:
    """`change` answers with the version of the catalogue that has it, and a restart leaves it there."""
    async with running(log, Checked([a_card("naive")])) as worker:
        version = await worker.change(register(READY), by="root")

        assert version == catalogue(log).version
        assert worker.card("new@1") == READY.card
        with pytest.raises(NotFound):
            worker.card("new@2")
        assert worker.status()["models"] == ["naive@1", "new@1"]

    async with running(log, Checked([a_card("naive")])) as worker:
        await eventually(lambda: worker.status()["live"])
    assert keys(log)[-2:] == ["new@1", "~claim"]


async def test_a_status_that_was_given_outlives_a_restart(log: MemoryLog) -> None:
    """The repository says what a model is, not who was promoted since."""
    repository = Checked([a_card("naive"), a_card("naive", "2")])
    async with running(log, repository) as worker:
        await worker.change(promote("naive@2", "better"), by="root")
    before = keys(log)

    async with running(log, repository) as worker:
        await eventually(lambda: worker.status()["live"])

    statuses = {str(card.key): card.status.value for card in catalogue(log).cards}
    assert statuses == {"naive@1": "demoted", "naive@2": "live"}
    assert keys(log) == [*before, "~claim"]


async def test_two_registrations_of_one_version_leave_one_model(log: MemoryLog) -> None:
    """Whichever comes second is told so, or that nothing had to be done."""
    other = Ready(a_card("new", sha256="1" * 64), "signed")
    async with running(log, Checked([])) as worker:
        first, same, second = await asyncio.gather(
            worker.change(register(READY), by="a"),
            worker.change(register(READY), by="b"),
            worker.change(register(other), by="c"),
            return_exceptions=True,
        )

    assert first == same
    assert isinstance(second, AlreadyRegistered)
    assert keys(log).count("new@1") == 1


@pytest.mark.parametrize("seed", range(20))
async def test_a_registration_whose_registry_dies_is_there_or_not(log: MemoryLog, seed: int) -> None:
    """Cancelled at any moment, with acknowledgements lost: whoever reads then finds all of it or nothing, and
    asking again makes it all.
    """
    rng = Random(seed)
    log.faults.lose_ack = 0.3
    async with running(log, Checked([a_card("naive")])) as worker:
        task = asyncio.create_task(worker.change(register(READY), by="root"))
        for _ in range(rng.randrange(60)):
            await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    found = [card for card in catalogue(log).cards if card.name == "new"]
    assert found in ([], [READY.card])

    log.faults.lose_ack = 0.0
    async with running(log, Checked([a_card("naive")]), "b") as worker:
        await worker.change(register(READY), by="root")
    assert [card for card in catalogue(log).cards if card.name == "new"] == [READY.card]


async def test_without_an_owner_a_change_is_refused_in_the_end(
    log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asked learns it, and the change is not made later behind his back."""
    monkeypatch.setattr(worker_module, "_PATIENCE_S", 0.05)
    worker = RegistryWorker(
        MemoryBus(log, "registry-x"),
        Checked([]),
        name="x",
        clock=time.time_ns,
        rng=Random(2),
        meter=MemoryMeter(),
    )
    with pytest.raises(RegistryAway):
        await worker.change(register(READY), by="root")

    task = asyncio.create_task(worker.run())
    await eventually(lambda: worker.status()["live"])
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert "new@1" not in keys(log)
