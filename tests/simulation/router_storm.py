"""Callers, the shipped routed client and a scripted backend on virtual time, for storms of half a minute."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

import numpy as np

from deployments.router.opening import assemble
from deployments.router.replies import Reply
from models.card import ModelCard
from models.decision import Ticket
from models.errors import HubError, ReplicaLost
from models.forecast import Forecast, InferCall, InferReply, LoadReport
from models.metrics import MemoryMeter
from models.request import Requirements
from models.task import CONTEXT_FEATURES, TIME_SERIES_FORECAST, WINDOW, DataSize
from routing.catalogue import Catalogue
from routing.engine import Engine
from routing.load import LoadTable, ReplicaMeta
from routing.profiles import load_profiles
from tests.support.arrivals import next_arrival

PROFILES: Final = Path(__file__).parents[2] / "config" / "profiles.yaml"
SERVICE_S: Final = 0.02
SLOTS: Final = 8
_RESTARTS_S: Final = 1.0
_START_NS: Final = 1_700_000_000_000_000_000
_FORECAST: Final = Forecast(
    q05=-1, q50=0, q95=1, lower=-1, upper=1, level=0.9, prob_up=0.5, in_distribution=True
)
Fault = Callable[[InferCall], HubError | None]


def now_s() -> float:
    """Virtual time."""
    return asyncio.get_running_loop().time()


def now_ns() -> int:
    """The same as wall time."""
    return _START_NS + round(now_s() * 1e9)


@dataclass
class Backend:
    """Replicas that answer in 20 ms, or as `fault` says of a call. A call that ends in ReplicaLost takes its
    replica with it, and all that runs there; a new one is there a second later.
    """

    load: LoadTable
    cards: Sequence[ModelCard]
    fault: Fault = lambda call: None
    ready: bool = True
    attempts: list[float] = field(default_factory=list)
    crashes: int = 0
    _lives: dict[str, asyncio.Event] = field(default_factory=dict)
    _seq: int = 0

    def start(self, count: int) -> None:
        for number in range(count):
            self._lives[f"r{number}"] = asyncio.Event()
        self._place()

    def send(self, call: InferCall, ticket: Ticket) -> Response:
        self.attempts.append(now_s())
        return Response(self, call, ticket)

    async def answer(self, call: InferCall, ticket: Ticket) -> Reply:
        died = self._lives.get(ticket.replica)
        if died is None:
            raise ReplicaLost("it is dead")
        error = self.fault(call)
        if isinstance(error, ReplicaLost):
            self._crash(ticket.replica)
        if error:
            raise error
        try:
            async with asyncio.timeout(SERVICE_S):
                await died.wait()
        except TimeoutError:
            return self._reply(ticket)
        raise ReplicaLost("it died meanwhile")

    def _reply(self, ticket: Ticket) -> Reply:
        self._seq += 1
        report = LoadReport(ticket.replica, "boot", self._seq, 0, 0, SLOTS, SERVICE_S * 1e3, 0.0, 1)
        return InferReply([_FORECAST], "a" * 64, "c1", 1, 2, report)

    def _crash(self, replica: str) -> None:
        self.crashes += 1
        self._lives.pop(replica).set()
        asyncio.get_running_loop().call_later(_RESTARTS_S, self._restart, f"n{self.crashes}")

    def _restart(self, name: str) -> None:
        self._lives[name] = asyncio.Event()
        self._place()

    def _place(self) -> None:
        meta = ReplicaMeta("pool", "cpu", SLOTS, {str(card.key): list(card.warm) for card in self.cards})
        self.load.replicas_updated("pool", [(name, meta) for name in self._lives], now_ns=now_ns())


@dataclass
class Response:
    """One call on its way."""

    backend: Backend
    call: InferCall
    ticket: Ticket

    async def reply(self) -> Reply:
        return await self.backend.answer(self.call, self.ticket)

    def cancel(self) -> None:
        """Whoever waits is gone; what runs ends by itself."""


@dataclass(frozen=True)
class _Cards:
    catalogue: Catalogue
    complete: bool = True


@dataclass
class Seen:
    """One request: when it began, how long it took, and how it ended."""

    begun_s: float
    took_s: float
    outcome: str


class Storm:
    """A routed client over a backend, and what became of its requests by tenant."""

    def __init__(self, cards: Sequence[ModelCard], *, replicas: int = 4) -> None:
        table = LoadTable()
        self.backend = Backend(table, cards)
        self.backend.start(replicas)
        self.seen: dict[str, list[Seen]] = {}
        self._client = assemble(
            engine=Engine(load_profiles(PROFILES.read_text(encoding="utf-8"))),
            source=_Cards(Catalogue.of(cards, version=1)),
            pools=self.backend,
            load=table,
            clock=now_ns,
            rng=Random(5),
            meter=MemoryMeter(),
        )

    async def offer(self, tenant: str, *, per_s: float, seconds: float, model: str | None = None) -> None:
        """Requests at random moments, whatever becomes of those before."""
        rng, calls, end_s = Random(tenant), [], now_s() + seconds
        while now_s() < end_s:
            calls.append(asyncio.create_task(self.ask(tenant, model)))
            await next_arrival(per_s, rng)
        await asyncio.gather(*calls)

    async def ask(self, tenant: str, model: str | None = None) -> None:
        begun_s, outcome = now_s(), "ok"
        wanted = Requirements(
            task=TIME_SERIES_FORECAST.name,
            rows=1,
            data_size=DataSize.SMALL,
            deadline_ns=now_ns() + 500_000_000,
            profile="performance_optimized",
            tenant=tenant,
            model=model,
        )
        window, context = np.zeros((1, WINDOW), np.float32), np.zeros((1, len(CONTEXT_FEATURES)), np.float32)
        try:
            await self._client.infer(wanted, window, context, traceparent="")
        except HubError as error:
            outcome = error.code
        self.seen.setdefault(tenant, []).append(Seen(begun_s, now_s() - begun_s, outcome))

    def answered(self, tenant: str, since_s: float, until_s: float) -> float:
        """Share of the tenant's requests of a time that were answered."""
        asked = [one for one in self.seen[tenant] if since_s <= one.begun_s < until_s]
        return sum(one.outcome == "ok" for one in asked) / len(asked)

    def attempts_per_100_ms(self, since_s: float, until_s: float) -> Counter[int]:
        """Calls sent to the backend, by tenth of a second."""
        return Counter(int(at_s * 10) for at_s in self.backend.attempts if since_s <= at_s < until_s)
