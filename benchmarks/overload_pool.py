"""Callers, one or more routers and a pool as one asyncio program, on virtual or on real time.

Routers are the shipped door, engine and load table. A replica has real slots and a bounded queue; its work is
a sleep. As a child process (`python -m benchmarks.overload_pool`) it runs one load at a time on real time and
says what became of the requests and of its memory.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from benchmarks.child import commands, say
from benchmarks.harness import percentile
from deployments.router.admission import AdmissionDoor, Stay
from models.decision import Decision
from models.errors import DeadlineExpired, HubError, NothingFeasible, ReplicaBusy, Shed
from models.forecast import LoadReport
from models.metrics import MemoryMeter
from models.request import Priority, Requirements
from models.task import DataSize
from routing.catalogue import Catalogue
from routing.engine import Engine
from routing.load import LoadTable, Outcome, ReplicaMeta
from routing.profiles import load_profiles
from routing.protection.admission import AdmissionConfig
from routing.protection.places import usage_of
from tests.support.cards import a_card

SLOTS: Final = 2
MAX_QUEUE: Final = 32
SERVICE_MS: Final = (100.0, 200.0)
CRITICAL_SHARE: Final = 0.2
DEADLINE_MS: Final = {Priority.CRITICAL: 500.0, Priority.BULK: 1000.0}
TENANTS: Final = 4
WARM_UP_S: Final = 5.0
_START_NS: Final = 1_700_000_000_000_000_000
_PROFILES: Final = Path(__file__).parents[1] / "config" / "profiles.yaml"
_CARD: Final = a_card(warm_ms=sum(SERVICE_MS) / 2)
_LAG_EVERY_S: Final = 0.002
_RSS_EVERY_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Setting:
    """`load` is offered in multiples of what the replicas can serve; the warm-up comes on top."""

    load: float
    seconds: float
    admission: bool = True
    replicas: int = 8
    routers: int = 1
    seed: int = 0

    @property
    def per_s(self) -> float:
        return self.load * capacity_per_s(self.replicas)


@dataclass
class Tally:
    """What became of the requests that arrived after the warm-up, by class: met, late, refused, or shed."""

    seconds: float
    ended: dict[str, dict[str, int]] = field(default_factory=dict)
    told_ms: list[float] = field(default_factory=list)

    def add(self, priority: Priority, end: str) -> None:
        ends = self.ended.setdefault(priority.value, {})
        ends[end] = ends.get(end, 0) + 1

    @property
    def goodput_per_s(self) -> float:
        """Answers within the deadline, a second."""
        return sum(ends.get("met", 0) for ends in self.ended.values()) / self.seconds

    def met(self, priority: Priority) -> float:
        """Share of the class that was answered within the deadline."""
        ends = self.ended[priority.value]
        return ends.get("met", 0) / sum(ends.values())


def capacity_per_s(replicas: int) -> float:
    """What so many replicas can serve."""
    return replicas * SLOTS / (sum(SERVICE_MS) / 2e3)


def now_ns() -> int:
    """Wall time as the running loop has it."""
    return _START_NS + round(asyncio.get_running_loop().time() * 1e9)


class Replica:
    """Slots that sleep, and a bounded queue, first come first served. What runs, runs to its end."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._busy = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._reports = 0

    async def answer(self, service_ms: float) -> LoadReport:
        """Serve one call. Raises ReplicaBusy if the queue is full."""
        arrived_ns = now_ns()
        if self._busy >= SLOTS:
            await self._turn()
        else:
            self._busy += 1
        started_ns, loop = now_ns(), asyncio.get_running_loop()
        done = loop.create_future()
        loop.call_later(service_ms / 1e3, self._end, done)
        await done
        return self._report(service_ms, (started_ns - arrived_ns) / 1e6)

    async def _turn(self) -> None:
        if len(self._waiting) >= MAX_QUEUE:
            raise ReplicaBusy(f"{self._busy} calls run and {len(self._waiting)} wait")
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn in self._waiting:
                self._waiting.remove(turn)
            elif not turn.cancelled():
                self._next()
            raise

    def _end(self, done: asyncio.Future[None]) -> None:
        if not done.done():
            done.set_result(None)
        self._next()

    def _next(self) -> None:
        """Hand the slot to the next that waits, or leave it free."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._busy -= 1

    def _report(self, service_ms: float, queue_ms: float) -> LoadReport:
        self._reports += 1
        return LoadReport(
            self.name, "boot", self._reports, len(self._waiting), self._busy, SLOTS, service_ms, queue_ms, 1
        )


class Router:
    """One process as a routed client drives it, with or without the door."""

    def __init__(self, replicas: dict[str, Replica], seed: int, *, admission: bool) -> None:
        self._replicas = replicas
        self._engine = Engine(load_profiles(_PROFILES.read_text()))
        self._catalogue = Catalogue.of([_CARD], version=1)
        self._rng = Random(seed)
        self._load = LoadTable()
        meta = ReplicaMeta("pool", "cpu", SLOTS, {str(_CARD.key): list(_CARD.warm)})
        self._load.replicas_updated("pool", [(name, meta) for name in replicas], now_ns=now_ns())
        self._door = AdmissionDoor(
            AdmissionConfig(),
            usage=lambda at_ns: usage_of(self._load.snapshot(at_ns), at_ns),
            clock=now_ns,
            meter=MemoryMeter(),
        )
        self._admission = admission

    async def ask(self, wanted: Requirements, service_ms: float) -> None:
        """One request: admitted, decided, called, learned from. Raises what stood in the way."""
        async with self._admitted(wanted) as stay:
            at_ns = now_ns()
            decision = self._engine.decide(
                wanted, self._catalogue, self._load.snapshot(at_ns), now_ns=at_ns, rng=self._rng
            )
            report = await self._call(decision, wanted.deadline_ns, service_ms)
            if stay is not None:
                stay.report = report

    def _admitted(self, wanted: Requirements) -> AbstractAsyncContextManager[Stay | None]:
        return self._door.admitted(wanted) if self._admission else nullcontext()

    async def _call(self, decision: Decision, deadline_ns: int, service_ms: float) -> LoadReport:
        sent_ns, report, outcome = now_ns(), None, Outcome.OK
        flight = self._load.sent(decision, rows=1, now_ns=sent_ns)
        try:
            async with asyncio.timeout((deadline_ns - sent_ns) / 1e9):
                report = await self._replicas[decision.replica].answer(service_ms)
                return report
        except TimeoutError:
            outcome = Outcome.TIMEOUT
            raise DeadlineExpired("no answer before the deadline") from None
        except ReplicaBusy:
            outcome = Outcome.REFUSED
            raise
        finally:
            at_ns = now_ns()
            elapsed_ms = (at_ns - sent_ns) / 1e6
            self._load.finished(flight, outcome=outcome, elapsed_ms=elapsed_ms, now_ns=at_ns, report=report)


async def offered(setting: Setting, *, at_rest: Callable[[], None] | None = None) -> Tally:
    """Offer the load, open loop, and count what arrives after the warm-up, which is at three quarters of
    capacity. `at_rest` is called between the two.
    """
    rng = Random(setting.seed)
    replicas = {f"r{number}": Replica(f"r{number}") for number in range(setting.replicas)}
    routers = [
        Router(replicas, seed=setting.seed * 100 + number, admission=setting.admission)
        for number in range(setting.routers)
    ]
    tally, begun_s = Tally(setting.seconds), asyncio.get_running_loop().time()
    async with asyncio.TaskGroup() as calls:
        for after_s in _arrivals(rng, 0.75 * capacity_per_s(setting.replicas), 0.0, WARM_UP_S):
            await _until(begun_s + after_s)
            calls.create_task(_request(rng.choice(routers), rng, Tally(1.0)))
        if at_rest:
            at_rest()
        for after_s in _arrivals(rng, setting.per_s, WARM_UP_S, WARM_UP_S + setting.seconds):
            await _until(begun_s + after_s)
            calls.create_task(_request(rng.choice(routers), rng, tally))
    return tally


async def _request(router: Router, rng: Random, tally: Tally) -> None:
    critical = rng.random() < CRITICAL_SHARE
    priority = Priority.CRITICAL if critical else Priority.BULK
    begun_ns = now_ns()
    wanted = Requirements(
        task=_CARD.task,
        rows=1,
        data_size=DataSize.SMALL,
        deadline_ns=begun_ns + int(DEADLINE_MS[priority] * 1e6),
        profile="performance_optimized",
        tenant=f"t{rng.randrange(TENANTS)}",
        priority=priority,
    )
    try:
        await router.ask(wanted, rng.uniform(*SERVICE_MS))
    except HubError as error:
        tally.add(priority, error.code)
        if isinstance(error, Shed | NothingFeasible):
            tally.told_ms.append((now_ns() - begun_ns) / 1e6)
    else:
        tally.add(priority, "met" if now_ns() <= wanted.deadline_ns else "late")


def _arrivals(rng: Random, per_s: float, from_s: float, until_s: float) -> Iterator[float]:
    """A Poisson process."""
    at_s = from_s
    while (at_s := at_s + rng.expovariate(per_s)) < until_s:
        yield at_s


async def _until(when_s: float) -> None:
    left_s = when_s - asyncio.get_running_loop().time()
    if left_s > 0:
        await asyncio.sleep(left_s)


def resident_bytes() -> int:
    """Memory of this process that is really there."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


@dataclass
class Watch:
    """How late the loop runs, and how much memory the process has: at rest, and at most afterwards."""

    lags_ms: list[float] = field(default_factory=list)
    rest_bytes: int = 0
    most_bytes: int = 0

    def at_rest(self) -> None:
        self.rest_bytes = self.most_bytes = resident_bytes()

    async def lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            begun_s = loop.time()
            await asyncio.sleep(_LAG_EVERY_S)
            self.lags_ms.append((loop.time() - begun_s - _LAG_EVERY_S) * 1e3)

    async def memory(self) -> None:
        while True:
            await asyncio.sleep(_RSS_EVERY_S)
            self.most_bytes = max(self.most_bytes, resident_bytes())


async def _watched(setting: Setting) -> dict[str, Any]:
    watch = Watch()
    watching = [asyncio.create_task(watch.lag()), asyncio.create_task(watch.memory())]
    try:
        tally = await offered(setting, at_rest=watch.at_rest)
    finally:
        for task in watching:
            task.cancel()
    return {
        "tally": asdict(tally),
        "lag_p99_ms": percentile(watch.lags_ms, 99),
        "rest_bytes": watch.rest_bytes,
        "most_bytes": watch.most_bytes,
    }


async def _serve_commands() -> None:
    say({})
    async for command in commands():
        say(await _watched(Setting(**json.loads(command))))


if __name__ == "__main__":
    sys.exit(asyncio.run(_serve_commands()))
