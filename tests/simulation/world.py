"""A simulated world: shipped workers on the memory bus and virtual time, and everything that may go wrong.

One seed is one history. Faults are drawn for `TROUBLE_S` seconds, then all is mended and what is owed must be
settled before the end.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Protocol

from deployments.fanout.config import WorkerConfig
from deployments.fanout.worker import FanoutWorker
from messaging.memory import MemoryBus, MemoryLog, Process
from messaging.ports import LogRecord, Record
from messaging.topics import (
    FANOUT,
    FORECASTER,
    PREDICTIONS,
    SIGNAL_STATE,
    SIGNALS,
    SUBSCRIPTIONS,
    partition_of,
)
from models.metrics import MemoryMeter
from models.principal import Tier
from models.strategy import Strategy
from models.subscription import RiskSettings, Subscription
from tests.simulation.judge import Evidence, Verdict, judge
from tests.simulation.scripted import Schedule, SlotWriter
from tests.support.virtual_loop import run_virtual

START_NS: Final = 1_795_000_000_000_000_000
PARTITIONS: Final = 4
SYMBOLS: Final = ("EURUSD", "NZDUSD")
STRATEGIES: Final = tuple(
    Strategy(name=name, version="1", symbols=SYMBOLS, bar_ms=10_000, horizon_ms=60_000)
    for name in ("alpha", "beta")
)
USERS: Final = tuple(f"user-{number}" for number in range(10))
TROUBLE_S: Final = 30.0
CALM_S: Final = 25.0
SETTLED_S: Final = 15.0
"""After so long without faults nobody has a reason to claim."""
LATE_S: Final = 5.0
COMPACTION_LAG_MS: Final = 15_000
DELAY_S: Final = (0.0005, 0.003)


class Worker(Protocol):
    """What every simulated worker can do."""

    async def run(self) -> None: ...

    async def stop(self) -> None: ...


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

    def __init__(self, seed: int, *, trouble: bool = True) -> None:
        self.rng = Random(f"world-{seed}")
        self.trouble = trouble
        self.trace: list[str] = []
        self.log = MemoryLog(
            Random(f"broker-{seed}"),
            clock=self.clock,
            max_batch_bytes=self.rng.choice((900_000, 900_000, 3_500)),
        )
        self.log.faults.delay_s = DELAY_S
        self.hosts: list[Host] = []
        self.probes: dict[tuple[str, int], list[int]] = defaultdict(list)
        self.schedule = Schedule(
            series=[(strategy.ref, symbol) for strategy in STRATEGIES for symbol in SYMBOLS],
            begin_ns=START_NS + 2_000_000_000,
            period_ns=self.rng.choice((400, 1000, 1500)) * 1_000_000,
            count=20,
        )
        self._seed = seed
        self._history: list[tuple[int, tuple[str, str], str, str, bool]] = []
        self._born = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._trap: tuple[str, int] | None = None

    @staticmethod
    def clock() -> int:
        return START_NS + int(asyncio.get_running_loop().time() * 1e9)

    # The course of a run

    async def run(self) -> Verdict:
        for topic in (PREDICTIONS, SUBSCRIPTIONS, SIGNALS, SIGNAL_STATE):
            partitions = topic.partitions if topic is PREDICTIONS else PARTITIONS
            self.log.add_topic(topic.name, partitions, topic.policy)
        for user in USERS[:8]:
            self.subscribe(user)
        for kind in (self.writer, self.writer, self.fanout, self.fanout, self.fanout)[
            : self.rng.randint(3, 5)
        ]:
            self.spawn(kind)
        await self._trouble()
        await self._mend()
        await asyncio.sleep(CALM_S)
        return self._judged()

    async def _trouble(self) -> None:
        end_s = asyncio.get_running_loop().time() + TROUBLE_S
        while self.trouble and (left_s := end_s - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(min(left_s, self.rng.expovariate(1 / 2.0)))
            self.rng.choice(self._faults())()

    def _faults(self) -> Sequence[Callable[[], object]]:
        return (
            self.freeze,
            self.freeze,
            self.crash,
            self.trap,
            self.trap,
            self.cut,
            self.hand_over,
            self.halt,
            self.share,
            self.rebalance,
            self.storm,
            self.storm,
            self.change_subscription,
            self.change_subscription,
            self.compact,
        )

    async def _mend(self) -> None:
        """End every fault; at least one worker of each kind goes on."""
        self._trap = None
        self.log.faults.refuse = self.log.faults.lose = self.log.faults.lose_ack = 0.0
        self.log.faults.late = self.log.faults.repeat = 0.0
        self.log.faults.delay_s = DELAY_S
        self.log.resume()
        self.log.group(FANOUT.name, SIGNALS.name)._shared.clear()
        self.rebalance()
        for host in self.hosts:
            self.log.mend(host.name)
            host.process.thaw()
        for kind in (self.writer, self.fanout):
            self.spawn(kind)

    def _judged(self) -> Verdict:
        calm_ns = START_NS + int((TROUBLE_S if self.trouble else 0.0) * 1e9) + int(SETTLED_S * 1e9)
        evidence = Evidence(
            predictions=self.records(PREDICTIONS.name, PREDICTIONS.partitions),
            signals=self.records(SIGNALS.name, PARTITIONS),
            subscriptions=self._history,
            due=self.schedule.due(),
            probes=self.probes,
            partition_of=lambda user: partition_of(user.encode(), PARTITIONS),
            calm_from_ns=calm_ns,
        )
        verdict = judge(evidence)
        for host in self.hosts:
            if host.task.done() and not host.leaving and not host.task.cancelled():
                verdict.complaints.append(f"died: {host.name}: {host.task.exception()!r}")
        return verdict

    # Processes

    def spawn(self, kind: Callable[[MemoryBus, str], Worker]) -> None:
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
        )

    def writer(self, bus: MemoryBus, name: str) -> SlotWriter:
        return SlotWriter(bus, self.schedule, name=name, clock=self.clock, rng=Random(f"{name}-{self._seed}"))

    def _stepped(self, name: str, what: str) -> None:
        """Every step that others can see passes here; a trap crashes the process at this very one."""
        self.trace.append(f"{asyncio.get_running_loop().time():.6f} {name} {what}")
        words = what.split()
        if words[0] == "confirmed" and words[2] == "True":
            self.probes[name, int(words[1])].append(self.clock())
        if self._trap and self._trap[0] == name:
            self._trap = (name, self._trap[1] - 1)
            if self._trap[1] == 0:
                self._trap = None
                self._kill(next(host for host in self.hosts if host.name == name))

    def _kill(self, host: Host) -> None:
        host.process.crash()
        self._later(self.rng.uniform(0, 8), lambda: self._replace(host))

    def _replace(self, host: Host) -> None:
        self.spawn(self.fanout if isinstance(host.worker, FanoutWorker) else self.writer)

    def _later(self, delay_s: float, act: Callable[[], object]) -> None:
        asyncio.get_running_loop().call_later(delay_s, act)

    # Faults

    def _victim(self) -> Host:
        return self.rng.choice([host for host in self.hosts if host.usable] or self.hosts)

    def freeze(self) -> None:
        victim = self._victim()
        victim.process.freeze()
        self._later(
            self.rng.choice((0.3, 2.0, 5.0, 8.0, 12.0)) * self.rng.random() * 1.5, victim.process.thaw
        )

    def crash(self) -> None:
        if (victim := self._victim()).usable:
            self._kill(victim)

    def trap(self) -> None:
        """Crash a process at one of its next steps, whichever that is."""
        if (victim := self._victim()).usable:
            self._trap = (victim.name, self.rng.randint(1, 40))

    def cut(self) -> None:
        victim = self._victim()
        self.log.cut(victim.name)
        self._later(self.rng.uniform(0.1, 9.0), lambda: self.log.mend(victim.name))

    def hand_over(self) -> None:
        victim = self._victim()
        if victim.usable:
            victim.leaving = True
            self._background(victim.worker.stop())
            self._later(self.rng.uniform(0, 3), lambda: self._replace(victim))

    def halt(self) -> None:
        self.log.halt()
        self._later(self.rng.uniform(0.1, 4.0), self.log.resume)

    def share(self) -> None:
        self.log.group(FANOUT.name, SIGNALS.name).share(self.rng.randrange(PARTITIONS))

    def rebalance(self) -> None:
        self.log.group(FANOUT.name, SIGNALS.name).rebalance()
        self.log.group(FORECASTER.name, PREDICTIONS.name).rebalance()

    def storm(self) -> None:
        """For a while appends fail in one way."""
        fault = self.rng.choice(("refuse", "lose", "lose_ack", "lose_ack", "late", "repeat"))
        self.log.faults.late_s = LATE_S
        setattr(self.log.faults, fault, self.rng.choice((0.05, 0.3, 0.9)))
        self.log.faults.delay_s = (0.0005, self.rng.choice((0.003, 0.05, 0.5)))
        self._later(self.rng.uniform(0.5, 4.0), lambda: self._calm(fault))

    def _calm(self, fault: str) -> None:
        setattr(self.log.faults, fault, 0.0)
        self.log.faults.delay_s = DELAY_S

    def compact(self) -> None:
        """As a broker does at any time, but never within the lag that the contract asks for."""
        self.log.partition(SIGNAL_STATE.name, self.rng.randrange(PARTITIONS)).compact()
        log = self.log.partition(SUBSCRIPTIONS.name, self.rng.randrange(PARTITIONS))
        old_ms = self.clock() // 1_000_000 - COMPACTION_LAG_MS
        last = {record.key: record.offset for record in log.records if record.timestamp_ms < old_ms}
        log.records = [record for record in log.records if record.offset >= last.get(record.key, -1)]

    # Users

    def subscribe(self, user: str, *, accounts: int = 1) -> None:
        for number in range(accounts):
            for strategy, symbol in self.schedule.series:
                self._put(user, f"account-{number}", strategy, symbol, on=True)

    def change_subscription(self) -> None:
        user, (strategy, symbol) = self.rng.choice(USERS), self.rng.choice(self.schedule.series)
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
            risk=RiskSettings(scale=self.rng.choice((0.0, 0.5, 1.0))),
        )
        value = subscription.model_dump_json(by_alias=True).encode() if on else None
        now_ms = self.clock() // 1_000_000
        partition = partition_of(user.encode(), PARTITIONS)
        self.log.partition(SUBSCRIPTIONS.name, partition).land([Record(subscription.key(), value)], now_ms)
        self._history.append((now_ms, (user, account), strategy, symbol, on))

    def records(self, topic: str, partitions: int) -> dict[int, list[LogRecord]]:
        return {partition: self.log.partition(topic, partition).records for partition in range(partitions)}

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))


def simulate(seed: int, *, trouble: bool = True) -> Outcome:
    """Live through the history of a seed."""
    return run_virtual(_lived(seed, trouble=trouble))


async def _lived(seed: int, *, trouble: bool) -> Outcome:
    world = World(seed, trouble=trouble)
    verdict = await world.run()
    logs = [
        *world.records(PREDICTIONS.name, PREDICTIONS.partitions).values(),
        *world.records(SIGNALS.name, PARTITIONS).values(),
        *world.records(SIGNAL_STATE.name, PARTITIONS).values(),
    ]
    return Outcome(verdict, world.trace, [record for records in logs for record in records])
