"""Shipped workers on virtual time, a network to them that takes its time, and a note of every run."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from deployments.router.execution.slots import Slots
from deployments.router.execution.worker import InferenceWorker
from deployments.router.replies import Reply
from models.card import ModelCard
from models.decision import Ticket
from models.forecast import Forecast, InferCall
from models.metrics import MemoryMeter
from routing.load import LoadTable, ReplicaMeta
from tests.support.virtual_loop import later
from tests.unit.signals.records import forecast

SLOTS: Final = 2
_START_NS: Final = 1_795_000_000_000_000_000


def now_ns() -> int:
    """Virtual time as wall time."""
    return _START_NS + round(asyncio.get_running_loop().time() * 1e9)


class Hop(StrEnum):
    """What may be slow."""

    MARKET = "from the market"
    CALLER = "before it is routed"
    REQUEST = "to the replica"
    MODEL = "in the model"
    REPLY = "from the replica"
    LOG = "to and from the log"
    READER = "in the service that acts"


USUAL_S: Final = {
    Hop.MARKET: 0.001,
    Hop.CALLER: 0.0,
    Hop.REQUEST: 0.001,
    Hop.MODEL: 0.002,
    Hop.REPLY: 0.001,
    Hop.LOG: 0.001,
    Hop.READER: 0.0,
}


@dataclass
class Span:
    """What happened in one stretch of time."""

    runs: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    effects: Counter[str] = field(default_factory=Counter)


@dataclass
class Course:
    """How long each hop takes now, and where what happens now is noted. Over all spans: how many models ran,
    `for_nobody` because their caller was gone before, or `in_vain` because its deadline passed meanwhile; and
    what was begun too `late`.
    """

    takes: dict[Hop, float] = field(default_factory=lambda: dict(USUAL_S))
    span: Span = field(default_factory=Span)
    runs: int = 0
    for_nobody: int = 0
    in_vain: int = 0
    late: list[str] = field(default_factory=list)

    def begins(self, what: str, expires_ns: int) -> None:
        """Work begins; nobody may begin it after that."""
        late_ms = (now_ns() - expires_ns) / 1e6
        if late_ms >= 0:
            self.late.append(f"{what} {late_ms:.1f} ms after its deadline")


class Network:
    """Pools of one process: calls travel to the replicas and back. A run is told by the window it is for."""

    def __init__(self, course: Course, load: LoadTable, card: ModelCard, *, replicas: int) -> None:
        self.course = course
        self.ready = True
        self._sent: list[Sent] = []
        self._workers = {f"r{number}": self._worker(f"r{number}", card) for number in range(replicas)}
        meta = ReplicaMeta("pool", "cpu", SLOTS, {str(card.key): list(card.warm)})
        load.replicas_updated("pool", [(name, meta) for name in self._workers], now_ns=now_ns())

    def send(self, call: InferCall, ticket: Ticket) -> Sent:
        self.course.begins("sent", call.deadline_ns)
        self._sent.append(Sent(self.course, self._workers[ticket.replica], call, ticket))
        return self._sent[-1]

    def runs(self, window: NDArray[np.float32]) -> None:
        """A model begins to run on this."""
        sent = next(sent for sent in self._sent if sent.call.window is window and not sent.ran)
        sent.runs()

    def close(self) -> None:
        for worker in self._workers.values():
            worker.close()

    def _worker(self, name: str, card: ModelCard) -> InferenceWorker:
        spent = Spent()
        return InferenceWorker(
            replica=name,
            boot="b",
            models=[TimedModel(card, self, spent)],
            slots=Slots(slots=SLOTS, max_queue=64),
            clock=spent,
            meter=MemoryMeter(),
            threads=VirtualThreads(spent),
        )


class Sent:
    """A call on its way, on its replica, or on its way back."""

    def __init__(self, course: Course, worker: InferenceWorker, call: InferCall, ticket: Ticket) -> None:
        self.call = call
        self.ran = False
        self._course = course
        self._worker = worker
        self._ticket = ticket
        self._given_up = False
        self._travels = asyncio.create_task(self._travel())

    async def reply(self) -> Reply:
        return await asyncio.shield(self._travels)

    def cancel(self) -> None:
        """The word takes as long as the call did."""
        self._given_up = True
        self._course.in_vain += self.ran and now_ns() >= self.call.deadline_ns
        asyncio.get_running_loop().call_later(self._course.takes[Hop.REQUEST], self._travels.cancel)

    def runs(self) -> None:
        course, self.ran = self._course, True
        course.begins("ran", self.call.deadline_ns)
        course.span.runs += 1
        course.runs += 1
        course.for_nobody += self._given_up

    async def _travel(self) -> Reply:
        await later(self._course.takes[Hop.REQUEST])
        reply = await self._worker.infer(self.call, self._ticket)
        await later(self._course.takes[Hop.REPLY])
        return reply


class Spent:
    """The clock of a replica, on which a run may spend time although nobody else moves meanwhile."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> int:
        return now_ns() + round(self.seconds * 1e9)


@dataclass
class TimedModel:
    """Spends as long as its hop takes."""

    card: ModelCard
    network: Network
    spent: Spent

    def run(
        self, window: NDArray[np.float32], context: NDArray[np.float32], *, level: float
    ) -> list[Forecast]:
        self.network.runs(window)
        self.spent.seconds = self.network.course.takes[Hop.MODEL]
        return [forecast(float(row[-1])) for row in window]


class VirtualThreads(Executor):
    """What is submitted ends when the time that it spent has passed."""

    def __init__(self, spent: Spent) -> None:
        self._spent = spent

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        result = fn(*args, **kwargs)
        seconds, self._spent.seconds = self._spent.seconds, 0.0
        asyncio.get_running_loop().call_later(seconds, done.set_result, result)
        return done
