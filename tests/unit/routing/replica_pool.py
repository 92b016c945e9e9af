"""Replicas with slots and a queue, and callers that choose among them by replies alone, in virtual time."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random

import numpy as np

from routing.ticketless.choice import CallEnd, ChoiceConfig, ReplicaChoice
from routing.ticketless.replica import Flight

SLOTS = 2
MEAN_MS = 150.0
FAILS_AFTER_MS = 2.0
Speed = Callable[[int, float], float | None]
"""How many times slower replica `r` is at `t` seconds; None if it fails at once."""


def even(replica: int, at_s: float) -> float:
    """Every replica is as fast as any other."""
    return 1.0


@dataclass
class _Replica:
    running: int = 0
    queue: deque[_Call] = field(default_factory=deque)


@dataclass
class _Call:
    caller: ReplicaChoice
    flight: Flight
    replica: int
    sent_s: float


@dataclass
class PoolRun:
    """What a run came to: latencies in ms, and picks and failures per replica, after the warm-up."""

    latencies_ms: list[float] = field(default_factory=list)
    picks: Counter[int] = field(default_factory=Counter)
    failed: int = 0
    picked_s: list[tuple[float, int]] = field(default_factory=list)

    @property
    def p99_ms(self) -> float:
        return float(np.percentile(self.latencies_ms, 99))

    def share(self, *replicas: int) -> float:
        """Share of all calls that these replicas got."""
        return sum(self.picks[replica] for replica in replicas) / self.picks.total()


class ReplicaPool:
    """Poisson arrivals at `load` of the capacity; service times uniform in 100 to 200 ms, times `speed`."""

    def __init__(
        self, speed: Speed = even, *, replicas: int = 8, callers: int = 1, load: float = 0.6, seed: int = 1
    ) -> None:
        self._rng = Random(seed)
        self._speed = speed
        self._rate = load * replicas * SLOTS / MEAN_MS * 1e3
        self._replicas = [_Replica() for _ in range(replicas)]
        self.callers = [ReplicaChoice(ChoiceConfig()) for _ in range(callers)]
        for caller in self.callers:
            caller.replicas_updated([(str(number), 16) for number in range(replicas)])
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = itertools.count()
        self._warm_s = 0.0
        self._result = PoolRun()

    def run(self, seconds: float, *, warm_s: float = 5.0) -> PoolRun:
        """Let `seconds` pass, and look at those after the warm-up."""
        self._warm_s = warm_s
        self._at(0.0, partial(self._arrive, seconds))
        while self._events and self._events[0][0] < seconds:
            at_s, _, event = heapq.heappop(self._events)
            event(at_s)
        return self._result

    def _at(self, at_s: float, event: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (at_s, next(self._order), event))

    def _arrive(self, until_s: float, now_s: float) -> None:
        self._at(now_s + self._rng.expovariate(self._rate), partial(self._arrive, until_s))
        caller = self._rng.choice(self.callers)
        chosen = caller.choose(int(now_s * 1e9), self._rng)
        assert chosen is not None
        number, replica = int(chosen), self._replicas[int(chosen)]
        call = _Call(caller, caller.sent(chosen, int(now_s * 1e9)), number, now_s)
        caller.heard(call.flight, replica.running + len(replica.queue) + 1)
        self._result.picked_s.append((now_s, number))
        if now_s > self._warm_s:
            self._result.picks[number] += 1
        self._admit(call, now_s)

    def _admit(self, call: _Call, now_s: float) -> None:
        if self._speed(call.replica, now_s) is None:
            self._at(now_s + FAILS_AFTER_MS / 1e3, partial(self._fail, call))
        elif self._replicas[call.replica].running < SLOTS:
            self._start(call, now_s)
        else:
            self._replicas[call.replica].queue.append(call)

    def _start(self, call: _Call, now_s: float) -> None:
        self._replicas[call.replica].running += 1
        slower = self._speed(call.replica, now_s) or 1.0
        self._at(now_s + self._rng.uniform(0.1, 0.2) * slower, partial(self._answer, call))

    def _answer(self, call: _Call, now_s: float) -> None:
        call.caller.finished(call.flight, CallEnd.ANSWERED, int(now_s * 1e9))
        if call.sent_s > self._warm_s:
            self._result.latencies_ms.append((now_s - call.sent_s) * 1e3)
        replica = self._replicas[call.replica]
        replica.running -= 1
        if replica.queue:
            self._start(replica.queue.popleft(), now_s)

    def _fail(self, call: _Call, now_s: float) -> None:
        call.caller.finished(call.flight, CallEnd.FAILED, int(now_s * 1e9))
        if call.sent_s > self._warm_s:
            self._result.failed += 1
