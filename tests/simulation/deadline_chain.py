"""Every hop of the product on virtual time under one deadline, where each hop can be made slow.

    market -> forecaster -> router -> replica -> log -> fan-out -> log -> service that acts
             a requester -> router -> replica -> requester

All of them are the shipped classes; what stands between them takes as long as `Course.takes` says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from deployments.fanout.config import WorkerConfig
from deployments.fanout.worker import FanoutWorker
from deployments.forecaster.config import WorkerConfig as ForecastConfig
from deployments.forecaster.worker import ForecastWorker
from deployments.reader import Effect, MemoryEffects, ReaderConfig, Service, Settled, SignalReader
from deployments.router.opening import assemble
from deployments.router.routed_client import RoutedClient
from messaging.memory import MemoryBus, MemoryFeed, MemoryLog, MemoryMarket, Process
from messaging.ports import LogRecord, Record
from messaging.topics import (
    CONTROL,
    PREDICTIONS,
    SIGNAL_STATE,
    SIGNALS,
    SIGNALS_DLQ,
    SUBSCRIPTIONS,
    partition_of,
)
from models.answer import Answer
from models.errors import HubError
from models.metrics import MemoryMeter
from models.principal import Tier
from models.request import Requirements
from models.signal import Signal
from models.strategy import ForecastNeeds, Strategy
from models.subscription import RiskSettings, Subscription
from models.task import CONTEXT_FEATURES, TIME_SERIES_FORECAST, WINDOW, DataSize
from routing.catalogue import Catalogue
from routing.engine import Engine
from routing.load import LoadTable
from routing.profiles import load_profiles
from signals.encoding import encode
from tests.simulation.judge import Account, Evidence
from tests.simulation.market import Playback, play
from tests.simulation.router_storm import PROFILES
from tests.simulation.slow_replicas import USUAL_S, Course, Hop, Network, Span, now_ns
from tests.support.arrivals import next_arrival
from tests.support.cards import a_card
from tests.support.virtual_loop import later, until

DEADLINE_MS: Final = 50
BAR_S: Final = 0.1
USERS: Final = tuple(f"user-{number}" for number in range(10))
_PARTITIONS: Final = 4
_REQUESTS_PER_S: Final = 100.0
_IMPATIENT: Final = 0.05
"""So many requests are given up by who made them, at any moment before the deadline."""
_STRATEGY: Final = Strategy(
    name="alpha",
    version="1",
    symbols=("EURUSD",),
    bar_ms=10_000,
    horizon_ms=60_000,
    ttl_ms=DEADLINE_MS,
    needs=ForecastNeeds(max_latency_ms=DEADLINE_MS),
)


class Chain:
    """One log, one market, one of each worker, two replicas. Made inside of a virtual loop; ends some time
    after `bars` have closed, one every `BAR_S`.
    """

    def __init__(self, *, bars: int) -> None:
        self._playback = Playback(
            strategies=[_STRATEGY.ref], symbols=_STRATEGY.symbols, begin_s=0.1, period_s=BAR_S, count=bars
        )
        self._history: list[tuple[int, Account, str, str, bool]] = []
        self.course = Course()
        self._log = MemoryLog(Random("log"), clock=now_ns)
        self._market = MemoryMarket(Random("market"))
        self._rng = Random("requests")
        self._tasks: list[asyncio.Task[Any]] = []
        card = a_card("ridge", warm_ms=USUAL_S[Hop.MODEL] * 1e3)
        load = LoadTable()
        self._network = Network(self.course, load, card, replicas=2)
        self._router = Slowed(self.course, self._routed(load, Catalogue.of([card], version=1)))
        self._service = Acting(self.course)
        self._forecaster = self._a_forecaster()
        self._fanout = self._a_fanout()

    async def open(self) -> None:
        """Start everybody, and the market."""
        for topic in (PREDICTIONS, SUBSCRIPTIONS, SIGNALS, SIGNAL_STATE, CONTROL, SIGNALS_DLQ):
            kept = topic.partitions if topic in (PREDICTIONS, CONTROL) else _PARTITIONS
            self._log.add_topic(topic.name, kept, topic.policy)
        for user in USERS:
            self._subscribe(user)
        self.slow(Hop.LOG, USUAL_S[Hop.LOG])
        for work in (self._forecaster.run(), self._fanout.run(), self._reader().run(range(_PARTITIONS))):
            self._do(work)
        await until(lambda: self._forecaster.ready and self._fanout.ready)
        feeder = MemoryFeed(self._market, Process("feeder"))
        self._do(play(self._playback, feeder, clock=now_ns, rng=Random("ticks")))
        self._do(self._request_on())

    async def live(self, seconds: float) -> Span:
        """Go on for so long; what happened, without what was still under way at its begin or its end."""
        await later(2 * BAR_S)
        self.course.span = Span()
        await later(seconds)
        span, self.course.span = self.course.span, Span()
        return span

    def slow(self, hop: Hop, seconds: float) -> None:
        """From now on the hop takes so long."""
        self.course.takes[hop] = seconds
        self._log.faults.delay_s = (self.course.takes[Hop.LOG],) * 2
        self._market.faults.delay_s = (self.course.takes[Hop.MARKET],) * 2

    def evidence(self) -> Evidence:
        """What the judge gets to see, once the last bar is settled."""
        return Evidence(
            predictions=self._records(PREDICTIONS.name, PREDICTIONS.partitions),
            signals=self._records(SIGNALS.name, _PARTITIONS),
            subscriptions=self._history,
            due=self._playback.due(),
            probes=None,
            partition_of=lambda user: partition_of(user.encode(), _PARTITIONS),
            calm_from_ns=now_ns(),
            state=self._records(SIGNAL_STATE.name, _PARTITIONS),
        )

    def _records(self, topic: str, partitions: int) -> dict[int, list[LogRecord]]:
        return {partition: self._log.partition(topic, partition).records for partition in range(partitions)}

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._network.close()

    # Who is there

    def _a_forecaster(self) -> ForecastWorker:
        process = Process("forecaster")
        return ForecastWorker(
            MemoryBus(self._log, "forecaster", process=process),
            MemoryFeed(self._market, process),
            self._router,
            [_STRATEGY],
            clock=now_ns,
            rng=Random("forecaster"),
            meter=MemoryMeter(),
            config=ForecastConfig(name="forecaster"),
        )

    def _a_fanout(self) -> FanoutWorker:
        return FanoutWorker(
            MemoryBus(self._log, "fanout"),
            [_STRATEGY],
            clock=now_ns,
            rng=Random("fanout"),
            meter=MemoryMeter(),
            config=WorkerConfig(name="fanout"),
        )

    def _reader(self) -> SignalReader:
        return SignalReader(
            MemoryBus(self._log, "desk"),
            self._service,
            Service("desk", act=self._service.act),
            clock=now_ns,
            rng=Random("desk"),
            config=ReaderConfig(partitions=_PARTITIONS),
        )

    def _routed(self, load: LoadTable, catalogue: Catalogue) -> RoutedClient:
        return assemble(
            engine=Engine(load_profiles(PROFILES.read_text(encoding="utf-8"))),
            pools=self._network,
            source=_Cards(catalogue),
            load=load,
            clock=now_ns,
            rng=Random("router"),
            meter=MemoryMeter(),
        )

    def _subscribe(self, user: str) -> None:
        subscription = Subscription(
            user_id=user,
            tenant_id="t",
            account_id="account-0",
            strategy=_STRATEGY.ref,
            symbol=_STRATEGY.symbols[0],
            tier=Tier.PRO,
            entitled_until_ns=2 * now_ns(),
            risk=RiskSettings(),
        )
        log = self._log.partition(SUBSCRIPTIONS.name, partition_of(user.encode(), _PARTITIONS))
        now_ms = now_ns() // 1_000_000
        log.land([Record(subscription.key(), encode(subscription))], now_ms)
        account = user, subscription.account_id
        self._history.append((now_ms, account, subscription.strategy, subscription.symbol, True))

    # Requests

    async def _request_on(self) -> None:
        async with asyncio.TaskGroup() as requests:
            while True:
                requests.create_task(self._request())
                await next_arrival(_REQUESTS_PER_S, self._rng)

    async def _request(self) -> None:
        """One request for a forecast; some who ask do not wait for it."""
        patience_s = self._rng.uniform(0, DEADLINE_MS / 1e3) if self._rng.random() < _IMPATIENT else None
        try:
            async with asyncio.timeout(patience_s):
                await self._router.infer(
                    _wanted(),
                    np.zeros((1, WINDOW), np.float32),
                    np.zeros((1, len(CONTEXT_FEATURES)), np.float32),
                    traceparent="",
                )
        except TimeoutError:
            return
        except HubError as error:
            self.course.span.answers[error.code] += 1
        else:
            self.course.span.answers["ok"] += 1

    def _do(self, work: Coroutine[Any, Any, Any]) -> None:
        self._tasks.append(asyncio.create_task(work))


class Slowed:
    """A router whose callers take their time before they ask it."""

    def __init__(self, course: Course, router: RoutedClient) -> None:
        self._course = course
        self._router = router

    async def infer(
        self,
        requirements: Requirements,
        window: NDArray[np.float32],
        context: NDArray[np.float32],
        *,
        traceparent: str,
        unit: str = "",
    ) -> Answer:
        await later(self._course.takes[Hop.CALLER])
        return await self._router.infer(requirements, window, context, traceparent=traceparent, unit=unit)


class Acting(MemoryEffects):
    """A service that acts, and its store."""

    def __init__(self, course: Course) -> None:
        super().__init__()
        self._course = course

    async def act(self, signal: Signal) -> None:
        self._course.begins("acted", signal.expires_ns)
        await later(self._course.takes[Hop.READER])

    async def apply(
        self, partition: int, effects: Sequence[Effect], settled: Settled, *, after: int | None
    ) -> None:
        await super().apply(partition, effects, settled, after=after)
        for effect in effects:
            why = effect.signal.reason if effect.signal.forecast is None else effect.outcome.value
            self._course.span.effects[why] += 1


@dataclass(frozen=True)
class _Cards:
    catalogue: Catalogue
    complete: bool = True


def _wanted() -> Requirements:
    return Requirements(
        task=TIME_SERIES_FORECAST.name,
        rows=1,
        data_size=DataSize.SMALL,
        deadline_ns=now_ns() + DEADLINE_MS * 1_000_000,
        profile="balanced",
    )
