"""A pool of replicas and several routers that share nothing but replies, in virtual time."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from statistics import fmean

from models.errors import NothingFeasible
from models.forecast import LoadReport
from routing.catalogue import Catalogue
from routing.engine import Engine
from routing.load import Flight, LoadTable, Outcome
from tests.support.cards import a_card
from tests.unit.routing.worlds import START_MS, a_table, holding, the_profiles, wants

CARD = a_card(warm_ms=10.0)
HOP_MS = 1.0
Service = Callable[[Random], float | None]
"""Draws the service time of one call in milliseconds; None fails it at once."""


@dataclass
class _Call:
    router: LoadTable
    flight: Flight
    sent_ms: float
    started_ms: float = 0.0
    service_ms: float | None = None


@dataclass
class _Replica:
    name: str
    service: Service
    slots: int = 2
    busy: int = 0
    queue: deque[_Call] = field(default_factory=deque)
    replies: int = 0


@dataclass(frozen=True)
class Summary:
    """What became of the requests."""

    picks: Counter[str]
    latencies_ms: list[float]
    failed: int
    refused: int

    @property
    def mean_ms(self) -> float:
        """Mean completion of the calls that answered."""
        return fmean(self.latencies_ms)

    def share(self, replica: str) -> float:
        """Share of all calls sent to one replica."""
        return self.picks[replica] / self.picks.total()


class PoolSimulation:
    """Poisson arrivals go to the routers in turn; every router decides with the shipped engine."""

    def __init__(self, services: dict[str, Service], *, routers: int, seed: int) -> None:
        self._rng = Random(seed)
        self._engine = Engine(the_profiles())
        self._catalogue = Catalogue.of([CARD], version=1)
        self._replicas = {name: _Replica(name, service) for name, service in services.items()}
        metas = {name: holding(CARD, slots=2) for name in services}
        self._routers = [a_table(metas) for _ in range(routers)]
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = itertools.count()
        self._picks: Counter[str] = Counter()
        self._latencies_ms: list[float] = []
        self._failed = self._refused = 0

    def run(self, requests: int, *, every_ms: float) -> Summary:
        """Send so many requests, on average one every so often."""
        now_ms = 0.0
        for number in range(requests):
            now_ms += self._rng.expovariate(1.0 / every_ms)
            router = self._routers[number % len(self._routers)]
            self._at(now_ms, partial(self._decide, router))
        while self._events:
            at_ms, _, act = heapq.heappop(self._events)
            act(at_ms)
        return Summary(self._picks, self._latencies_ms, self._failed, self._refused)

    def _at(self, when_ms: float, act: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when_ms, next(self._order), act))

    def _decide(self, router: LoadTable, now_ms: float) -> None:
        now_ns = _ns(now_ms)
        wanted = wants(profile="performance_optimized").model_copy(
            update={"deadline_ns": now_ns + 500_000_000}
        )
        load = router.snapshot(now_ns)
        try:
            decision = self._engine.decide(wanted, self._catalogue, load, now_ns=now_ns, rng=self._rng)
        except NothingFeasible:
            self._refused += 1
            return
        self._picks[decision.replica] += 1
        call = _Call(router, router.sent(decision, rows=1, now_ns=decision.decided_ns), now_ms)
        replica = self._replicas[decision.replica]
        self._at(now_ms + HOP_MS, partial(self._arrive, replica, call))

    def _arrive(self, replica: _Replica, call: _Call, now_ms: float) -> None:
        call.service_ms = replica.service(self._rng)
        if call.service_ms is None:
            self._reply(replica, call, now_ms)
        elif replica.busy < replica.slots:
            self._start(replica, call, now_ms)
        else:
            replica.queue.append(call)

    def _start(self, replica: _Replica, call: _Call, now_ms: float) -> None:
        assert call.service_ms is not None
        replica.busy += 1
        call.started_ms = now_ms
        self._at(now_ms + call.service_ms, partial(self._end, replica, call))

    def _end(self, replica: _Replica, call: _Call, now_ms: float) -> None:
        replica.busy -= 1
        if replica.queue:
            self._start(replica, replica.queue.popleft(), now_ms)
        self._reply(replica, call, now_ms)

    def _reply(self, replica: _Replica, call: _Call, now_ms: float) -> None:
        replica.replies += 1
        report = LoadReport(
            replica=replica.name,
            boot="boot",
            seq=replica.replies,
            queued=len(replica.queue),
            in_service=replica.busy,
            slots=replica.slots,
            service_ms=call.service_ms or 0.0,
            queue_ms=max(0.0, call.started_ms - call.sent_ms - HOP_MS),
            rows=1,
        )
        self._at(now_ms + HOP_MS, partial(self._learn, call, report))

    def _learn(self, call: _Call, report: LoadReport, now_ms: float) -> None:
        elapsed_ms = now_ms - call.sent_ms
        outcome = Outcome.FAILED if call.service_ms is None else Outcome.OK
        if outcome is Outcome.OK:
            self._latencies_ms.append(elapsed_ms)
        else:
            self._failed += 1
        call.router.finished(
            call.flight, outcome=outcome, elapsed_ms=elapsed_ms, now_ns=_ns(now_ms), report=report
        )


def _ns(now_ms: float) -> int:
    return START_MS * 1_000_000 + int(now_ms * 1e6)
