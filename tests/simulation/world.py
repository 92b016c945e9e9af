"""A simulated world: shipped workers on the memory bus and virtual time, and everything that may go wrong.

One seed is one history. Faults are drawn for a while, then all is mended and what is owed must
be settled before the end.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Protocol

from deployments.fanout.config import WorkerConfig
from deployments.fanout.worker import FanoutWorker
from deployments.forecaster.config import WorkerConfig as ForecastConfig
from deployments.forecaster.worker import ForecastWorker
from messaging.memory import MemoryBroadcast, MemoryBus, MemoryFeed, MemoryLog, MemoryMarket, Process
from messaging.ports import LogRecord, Record
from messaging.subjects import HALT_SUBJECT
from messaging.topics import (
    CONTROL,
    PREDICTIONS,
    SIGNAL_STATE,
    SIGNALS,
    SUBSCRIPTIONS,
    partition_of,
)
from models.halt import Halt, HaltScope
from models.metrics import MemoryMeter
from models.principal import Tier
from models.strategy import Strategy
from models.subscription import RiskSettings, Subscription
from tests.simulation.asked import HaltSpan
from tests.simulation.entitling import Entitling
from tests.simulation.faults import DELAY_S, PARTITIONS, Trouble
from tests.simulation.judge import Evidence, Verdict, judge
from tests.simulation.market import DistantRouter, Playback, play
from tests.support.virtual_loop import run_virtual

START_NS: Final = 1_795_000_000_000_000_000
SYMBOLS: Final = ("EURUSD", "NZDUSD")
STRATEGIES: Final = tuple(
    Strategy(name=name, version="1", symbols=SYMBOLS, bar_ms=10_000, horizon_ms=60_000, ttl_ms=4000)
    for name in ("alpha", "beta")
)
USERS: Final = tuple(f"user-{number}" for number in range(10))
LIMITS: Final = {
    user: RiskSettings(
        max_signals_per_minute=3 if number % 3 == 1 else None, max_exposure=0.3 if number % 4 == 2 else None
    )
    for number, user in enumerate(USERS)
}
LONG_BELOW: Final = 100
TROUBLE_S: Final = (30.0, 10.0)
"""Of the first seeds, and of the many others."""
CALM_S: Final = 25.0
SETTLED_S: Final = 15.0
"""After so long without faults nobody has a reason to claim."""


class Worker(Protocol):
    """What every simulated worker can do."""

    async def run(self) -> None: ...

    async def stop(self) -> None: ...


Kind = Callable[[MemoryBus, str], Worker]
"""Makes a worker in a process."""


@dataclass
class Host:
    """One simulated process and the worker in it."""

    name: str
    process: Process
    worker: Worker
    task: asyncio.Task[None]
    leaving: bool = False

    @property
    def usable(self) -> bool:
        return not self.process.crashed and not self.leaving


@dataclass
class Outcome:
    """What a run left: the verdict, and the trace and the logs that the same seed must leave again."""

    verdict: Verdict
    trace: list[str]
    logs: list[LogRecord]


class World:
    """Owns the broker, the processes and the dice."""

    def __init__(self, seed: int, *, trouble: bool = True, entitling: bool = False) -> None:
        self.rng = Random(f"world-{seed}")
        self.trouble = trouble
        self.entitling = Entitling(self, Random(f"entitling-{seed}")) if entitling else None
        self.trouble_s = TROUBLE_S[0] if seed < LONG_BELOW else TROUBLE_S[1]
        self.trace: list[str] = []
        self.log = MemoryLog(
            Random(f"broker-{seed}"),
            clock=self.clock,
            max_batch_bytes=self.rng.choice((900_000, 900_000, 3_500)),
        )
        self.log.faults.delay_s = DELAY_S
        self.hosts: list[Host] = []
        self.probes: dict[tuple[str, int], list[int]] = defaultdict(list)
        period_ms = self.rng.choice((400, 1000, 1500))
        self.series = [(strategy.ref, symbol) for strategy in STRATEGIES for symbol in SYMBOLS]
        self.playback = Playback(
            strategies=[strategy.ref for strategy in STRATEGIES],
            symbols=SYMBOLS,
            begin_s=2.0,
            period_s=period_ms / 1000,
            count=20 if seed < LONG_BELOW else 8,
        )
        self.market = MemoryMarket(Random(f"market-{seed}"))
        self._seed = seed
        self.halts: list[HaltSpan] = []
        self._history: list[tuple[int, tuple[str, str], str, str, bool]] = []
        self._born = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.trap: tuple[str, int] | None = None

    @staticmethod
    def clock() -> int:
        return START_NS + int(asyncio.get_running_loop().time() * 1e9)

    # The course of a run

    async def run(self) -> Verdict:
        for topic in (PREDICTIONS, SUBSCRIPTIONS, SIGNALS, SIGNAL_STATE, CONTROL):
            partitions = topic.partitions if topic in (PREDICTIONS, CONTROL) else PARTITIONS
            self.log.add_topic(topic.name, partitions, topic.policy)
        for user in USERS[:8]:
            self.subscribe(user)
        crew = (self.forecaster, self.forecaster, self.fanout, self.fanout, self.fanout)
        for kind in crew[: self.rng.randint(3, 5)]:
            self.spawn(kind)
        feed, rng = MemoryFeed(self.market, Process("feeder")), Random(f"ticks-{self._seed}")
        self.background(play(self.playback, feed, clock=self.clock, rng=rng))
        trouble = Trouble(self)
        if self.entitling:
            self.background(self.entitling.run(self.trouble_s))
        if self.trouble:
            await trouble.run(self.trouble_s)
        trouble.mend()
        for kind in (self.forecaster, self.fanout):
            self.spawn(kind)
        await asyncio.sleep(CALM_S)
        return self._judged()

    def evidence(self) -> Evidence:
        """What the judge gets to see."""
        calm_s = (self.trouble_s if self.trouble else 0.0) + SETTLED_S
        return Evidence(
            predictions=self.records(PREDICTIONS.name, PREDICTIONS.partitions),
            signals=self.records(SIGNALS.name, PARTITIONS),
            subscriptions=self._history,
            due=self.playback.due(),
            probes=self.probes,
            partition_of=lambda user: partition_of(user.encode(), PARTITIONS),
            calm_from_ns=START_NS + int(calm_s * 1e9),
            limits=LIMITS,
            halts=self.halts,
            state=self.records(SIGNAL_STATE.name, PARTITIONS),
            entitlements=self.entitling.history if self.entitling else (),
        )

    def _judged(self) -> Verdict:
        verdict = judge(self.evidence())
        for host in self.hosts:
            if host.task.done() and not host.task.cancelled():
                verdict.complaints.append(f"died: {host.name}: {host.task.exception()!r}")
        return verdict

    # Processes

    def spawn(self, kind: Kind) -> None:
        """Start a worker in a process of its own."""
        name = f"{kind.__name__}-{self._born}"
        self._born += 1
        process = Process(name, on_step=self._stepped)
        worker = kind(MemoryBus(self.log, name, process=process), name)
        self.hosts.append(Host(name, process, worker, asyncio.create_task(worker.run())))

    def fanout(self, bus: MemoryBus, name: str) -> FanoutWorker:
        return FanoutWorker(
            bus,
            STRATEGIES,
            clock=self.clock,
            rng=Random(f"{name}-{self._seed}"),
            meter=MemoryMeter(),
            config=WorkerConfig(name=name, lookback_s=10.0),
            broadcast=MemoryBroadcast(self.market, bus.process),
        )

    def forecaster(self, bus: MemoryBus, name: str) -> ForecastWorker:
        rng = Random(f"{name}-{self._seed}")
        return ForecastWorker(
            bus,
            MemoryFeed(self.market, bus.process),
            DistantRouter(rng),
            STRATEGIES,
            clock=self.clock,
            rng=rng,
            meter=MemoryMeter(),
            config=ForecastConfig(name=name),
        )

    def _stepped(self, name: str, what: str) -> None:
        """Every step that others can see passes here; a trap crashes the process at this very one."""
        self.trace.append(f"{asyncio.get_running_loop().time():.6f} {name} {what}")
        words = what.split()
        if words[0] == "confirmed" and words[2] == "True":
            self.probes[name, int(words[1])].append(self.clock())
        if self.trap and self.trap[0] == name:
            self.trap = (name, self.trap[1] - 1)
            if self.trap[1] == 0:
                self.trap = None
                self.kill(next(host for host in self.hosts if host.name == name))

    def victim(self) -> Host:
        """Any process that is there."""
        return self.rng.choice([host for host in self.hosts if host.usable] or self.hosts)

    def kill(self, host: Host) -> None:
        """As kill -9 does; somebody starts another after a while."""
        host.process.crash()
        self.later(self.rng.uniform(0, 8), lambda: self.replace(host))

    def replace(self, host: Host) -> None:
        """Start another worker of the kind."""
        self.spawn(self.fanout if isinstance(host.worker, FanoutWorker) else self.forecaster)

    @staticmethod
    def later(delay_s: float, act: Callable[[], object]) -> None:
        """Do something then, whatever happens meanwhile."""
        asyncio.get_running_loop().call_later(delay_s, act)

    # Users

    def subscribe(self, user: str, *, accounts: int = 1) -> None:
        for number in range(accounts):
            for strategy, symbol in self.series:
                self._put(user, f"account-{number}", strategy, symbol, on=True)

    def change_subscription(self) -> None:
        user, (strategy, symbol) = self.rng.choice(USERS), self.rng.choice(self.series)
        account = self.rng.choice(("account-0", "account-0", "account-1"))
        self._put(user, account, strategy, symbol, on=self.rng.random() < 0.7)

    def _put(self, user: str, account: str, strategy: str, symbol: str, *, on: bool) -> None:
        subscription = Subscription(
            user_id=user,
            tenant_id="t",
            account_id=account,
            strategy=strategy,
            symbol=symbol,
            tier=Tier.PRO,
            entitled_until_ns=START_NS * 2,
            risk=LIMITS[user].model_copy(update={"scale": self.rng.choice((0.0, 0.5, 1.0))}),
        )
        value = subscription.model_dump_json(by_alias=True).encode() if on else None
        now_ms = self.clock() // 1_000_000
        partition = partition_of(user.encode(), PARTITIONS)
        self.log.partition(SUBSCRIPTIONS.name, partition).land([Record(subscription.key(), value)], now_ms)
        self._history.append((now_ms, (user, account), strategy, symbol, on))

    # Operators

    def halt(self) -> None:
        """Halt somebody or something for a while; half of the time NATS tells of it too."""
        scope, halted = self.rng.choice(self._haltable())
        now_ns, seconds = self.clock(), self.rng.uniform(0.5, 8.0)
        halt = Halt(scope=scope, id=halted, reason="simulated", by="operator", at_ns=now_ns)
        if any((span.scope, span.id) == (scope, halted) and span.to_ns > now_ns for span in self.halts):
            return
        self.halts.append(HaltSpan(scope, halted, now_ns, now_ns + int(seconds * 1e9)))
        value = halt.model_dump_json(by_alias=True).encode()
        if self.rng.random() < 0.5:
            self.market.tell(HALT_SUBJECT, value)
        self._control(Record(halt.key(), value))
        self.later(seconds, lambda: self._control(Record(halt.key(), None)))

    def _haltable(self) -> list[tuple[HaltScope, str]]:
        return [
            (HaltScope.ALL, "*"),
            (HaltScope.TENANT, "t"),
            (HaltScope.MODEL, "ridge@1"),
            (HaltScope.STRATEGY, STRATEGIES[0].ref),
            (HaltScope.USER, self.rng.choice(USERS)),
        ]

    def _control(self, record: Record) -> None:
        self.log.partition(CONTROL.name, 0).land([record], self.clock() // 1_000_000)

    def records(self, topic: str, partitions: int) -> dict[int, list[LogRecord]]:
        return {partition: self.log.partition(topic, partition).records for partition in range(partitions)}

    def background(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside the rest."""
        self._tasks.append(asyncio.create_task(work))


def simulate(seed: int, *, trouble: bool = True, entitling: bool = False) -> Outcome:
    """Live through the history of a seed."""
    return run_virtual(_lived(World(seed, trouble=trouble, entitling=entitling)))


async def _lived(world: World) -> Outcome:
    verdict = await world.run()
    logs = [
        *world.records(PREDICTIONS.name, PREDICTIONS.partitions).values(),
        *world.records(SIGNALS.name, PARTITIONS).values(),
        *world.records(SIGNAL_STATE.name, PARTITIONS).values(),
    ]
    return Outcome(verdict, world.trace, [record for records in logs for record in records])
