"""Replicas of a pool with their shelves: a worker, the catalogue they follow, models as cheap doubles."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

from deployments.pool.loader import Loaded
from deployments.pool.on_demand import OnDemand
from deployments.pool.placement import Part
from deployments.pool.shelf import Shelf
from deployments.pool.stock import Stock
from deployments.router.catalogue_fold import Entry
from deployments.router.catalogue_tail import CatalogueTail
from deployments.router.execution.worker import InferenceWorker
from deployments.router.load_table import replica_meta
from deployments.router.replies import Refusal
from messaging.memory import MemoryBus, MemoryLog
from messaging.ports import Record
from messaging.topics import MODELS
from models.card import ModelCard, ModelStatus
from models.errors import CardRejected, HubError
from models.events import CLAIM_KEY, CatalogueEvent, ModelAdded, Origin
from models.forecast import InferCall, InferReply
from models.metrics import MemoryMeter
from routing.load import ReplicaMeta
from tests.support.cards import a_card
from tests.unit.execution.doubles import GatedModel, a_worker

OWN = a_card("ridge")
MODEL_BYTES = 1000
"""What a double takes in memory."""
ROOMY = 1 << 30
EVERYTHING = Part(offers=lambda _: True, loads=lambda _: True)


@dataclass
class Library:
    """Loads doubles. Says of each load that it took `load_ms`; a model that is shut waits for its gate."""

    load_ms: float = 1.0
    broken: set[str] = field(default_factory=set)
    loads: Counter[str] = field(default_factory=Counter)
    models: dict[str, GatedModel] = field(default_factory=dict)
    gates: dict[str, threading.Event] = field(default_factory=dict)

    def __call__(self, entry: Entry) -> Loaded:
        name = str(entry.card.key)
        self.loads[name] += 1
        if gate := self.gates.get(name):
            assert gate.wait(10)
        if name in self.broken:
            raise CardRejected(f"the artefact of {name} does not load")
        model = self.models[name] = GatedModel(entry.card)
        return Loaded(model, MODEL_BYTES, self.load_ms, lambda: entry.card.warm)

    def shut(self, name: str) -> threading.Event:
        """Hold the next loads of a model up; the event lets them go on."""
        self.gates[name] = threading.Event()
        return self.gates[name]


def a_log(events: Iterable[CatalogueEvent] = ()) -> MemoryLog:
    """`hub.models`, with these events in it."""
    log = MemoryLog(Random(1), clock=time.time_ns)
    log.add_topic(MODELS.name, MODELS.partitions, MODELS.policy)
    log.partition(MODELS.name, 0).land([Record(CLAIM_KEY, b"{}")], timestamp_ms=0)
    says(log, *events)
    return log


def says(log: MemoryLog, *events: CatalogueEvent) -> None:
    """The registry announces it."""
    records = [Record(b"model", event.model_dump_json(by_alias=True).encode()) for event in events]
    log.partition(MODELS.name, 0).land(records, timestamp_ms=0)


def registered(name: str, status: ModelStatus = ModelStatus.CANDIDATE) -> ModelAdded:
    """The announcement of a model that was registered at run time; it is `<name>@1`."""
    return announced(a_card(name).model_copy(update={"status": status}))


def announced(card: ModelCard, signature: str = "") -> ModelAdded:
    """The announcement of this card."""
    return ModelAdded(epoch=0, card=card, at_ns=1, origin=Origin.REGISTERED, signature=signature)


@dataclass
class Replica:
    """One replica, with the calls it takes and what it says to routers."""

    worker: InferenceWorker
    shelf: Shelf
    calls: OnDemand
    meter: MemoryMeter

    def counted(self, state: str) -> float:
        """How many models an operator sees in this state."""
        return self.meter.values["hub_registered_models", (("pool", "left"), ("state", state))]

    def offers(self) -> set[str]:
        """What routers may send here."""
        return set(self.shelf.profiles())

    def holds(self) -> set[str]:
        """What of it is loaded."""
        return self.offers() - set(self.shelf.cold())

    def meta(self) -> ReplicaMeta:
        """What a router makes of what the replica says."""
        said = self.worker.metadata(pool="left", hardware="cpu") | {"models": {}}
        return replica_meta(said, {"models": self.shelf.profiles(), "cold": self.shelf.cold()})

    async def answer(self, call: InferCall) -> InferReply:
        """The answer to a call that must have one."""
        reply = await self.calls.infer(call)
        assert isinstance(reply, InferReply), reply
        return reply

    async def refusal(self, call: InferCall) -> HubError:
        """Why a call was refused that must be."""
        reply = await self.calls.infer(call)
        assert isinstance(reply, Refusal), reply
        return reply.error


@asynccontextmanager
async def running(
    load: Callable[[Entry], Loaded],
    log: MemoryLog,
    *,
    part: Part = EVERYTHING,
    most_bytes: int = ROOMY,
    most_waiting: int = 32,
) -> AsyncIterator[Replica]:
    """A replica of the pool `left` that holds `ridge@1` of its repository and follows the log."""
    meter, worker = MemoryMeter(), a_worker([GatedModel(OWN)], time.time_ns, batch_rows=8)
    tail = CatalogueTail(
        MemoryBus(log, "pool"), room="pool", clock=time.time_ns, rng=Random(2), meter=MemoryMeter()
    )
    shelf = Shelf(
        tail,
        Stock(worker, most_bytes=most_bytes),
        load,
        pool="left",
        meter=meter,
        clock=time.time_ns,
        part=part,
        most_waiting=most_waiting,
    )
    tasks = [asyncio.create_task(tail.run()), asyncio.create_task(shelf.run())]
    try:
        yield Replica(worker, shelf, OnDemand(worker, lambda: shelf), meter)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        worker.close()
