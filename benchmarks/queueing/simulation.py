"""From request to reply, event by event in virtual time.

request -> the router chooses -> hop -> queue -> slot -> end -> hop -> the router learns.
At the deadline the router gives up: a call that waits is withdrawn, one that runs keeps its slot to the end.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from math import inf
from random import Random
from typing import Any, Final

from benchmarks.queueing.policies import Choice, Ended, Hedging, MakePolicy
from benchmarks.queueing.pool import Call, Pool
from benchmarks.queueing.runs import NEAR, Recorder, Run
from benchmarks.queueing.traces import Shift, Trace
from models.forecast import LoadReport
from routing.load import Outcome

TIMER_MS: Final = 0.01
"""A timer is late by at least this; never early, as rounding would make it."""


def simulate(trace: Trace, make: MakePolicy, *, routers: int = 1, seed: int = 0) -> Run:
    """Let so many routers of one policy, each seeded apart, serve the trace to its last reply."""
    return _Simulation(trace, make, routers, seed).run()


class _Simulation:
    def __init__(self, trace: Trace, make: MakePolicy, routers: int, seed: int) -> None:
        self._trace = trace
        self._pool = Pool(trace)
        self._routers = [make(self._pool, Random(f"{seed} {number}")) for number in range(routers)]
        self._hedging = [router if isinstance(router, Hedging) else None for router in self._routers]
        self._recorder = Recorder(len(trace))
        self._events: list[tuple[float, int, Callable[[float, Any], None], Any]] = []
        self._order = itertools.count()

    def run(self) -> Run:
        for shift in self._trace.shifts:
            self._at(shift.at_ms, self._change, shift)
        self._at(self._trace.arrived_ms[0], self._request, 0)
        events, pop = self._events, heapq.heappop
        while events:
            now_ms, _, act, subject = pop(events)
            act(now_ms, subject)
        return self._recorder.run()

    def _at(self, when_ms: float, act: Callable[[float, Any], None], subject: Any) -> None:
        heapq.heappush(self._events, (when_ms, next(self._order), act, subject))

    def _change(self, _now_ms: float, shift: Shift) -> None:
        self._pool.change(shift.factors)

    def _request(self, now_ms: float, number: int) -> None:
        trace = self._trace
        if number + 1 < len(trace):
            self._at(trace.arrived_ms[number + 1], self._request, number + 1)
        router = int(trace.lots[number] * len(self._routers))
        policy = self._routers[router]
        choice = policy.choose(budget_ms=trace.budgets_ms[number], now_ms=now_ms)
        if choice is None:
            return
        self._judge(number, choice.replica, choice.p_meet)
        call = self._send(now_ms, choice, number=number, router=router)
        if trace.budgets_ms[number] < inf:
            self._at(now_ms + trace.budgets_ms[number], self._give_up, call)
        hedging = self._hedging[router]
        after_ms = hedging.look_after_ms(choice, now_ms=now_ms) if hedging else None
        if after_ms is not None:
            self._at(now_ms + after_ms + TIMER_MS, self._look, (call, choice))

    def _send(self, now_ms: float, choice: Choice, *, number: int, router: int, attempt: int = 0) -> Call:
        replica = self._pool.replicas[choice.replica]
        replica.assigned += 1
        flight = self._routers[router].sent(choice, now_ms=now_ms)
        call = Call(number, attempt, router, replica, flight, now_ms)
        self._at(now_ms + self._trace.hop_ms, self._arrive, call)
        return call

    def _look(self, now_ms: float, sent: tuple[Call, Choice]) -> None:
        """Send a second call beside one that is late, if the router wants one."""
        call, choice = sent
        hedging = self._hedging[call.router]
        if call.over or hedging is None:
            return
        elapsed_ms = now_ms - call.sent_ms
        left_ms = self._trace.budgets_ms[call.number] - elapsed_ms
        second = hedging.second(choice, elapsed_ms=elapsed_ms, budget_ms=left_ms, now_ms=now_ms)
        if second is None:
            again_ms = hedging.look_again_ms(choice, elapsed_ms=elapsed_ms)
            if again_ms is not None:
                self._at(now_ms + again_ms, self._look, sent)
            return
        self._recorder.hedged(call.number)
        call.other = self._send(now_ms, second, number=call.number, router=call.router, attempt=1)
        call.other.other = call

    def _judge(self, number: int, chosen: int, p_meet: float) -> None:
        """Note how good the choice was by what is true at this moment, the way and back included."""
        expected_ms = self._pool.expected_ms()
        way_ms = 2 * self._trace.hop_ms
        near_best = expected_ms[chosen] + way_ms <= NEAR * (min(expected_ms) + way_ms)
        slow = self._pool.replicas[chosen].factor > 1.0
        self._recorder.chosen(number, near_best=near_best, slow=slow, p_meet=p_meet)

    def _arrive(self, now_ms: float, call: Call) -> None:
        call.arrived_ms = now_ms
        if call.over:
            call.replica.assigned -= 1
        elif call.replica.busy < call.replica.slots:
            self._start(now_ms, call)
        else:
            call.replica.waiting.append(call)

    def _start(self, now_ms: float, call: Call) -> None:
        call.replica.busy += 1
        call.started_ms = now_ms
        call.service_ms = self._trace.work_ms(call.number, call.attempt) * call.replica.factor
        self._at(now_ms + call.service_ms, self._end, call)

    def _end(self, now_ms: float, call: Call) -> None:
        replica = call.replica
        replica.busy -= 1
        replica.assigned -= 1
        if replica.waiting:
            self._start(now_ms, replica.waiting.popleft())
        if not call.over:
            self._at(now_ms + self._trace.hop_ms, self._reply, (call, replica.report(call)))

    def _reply(self, now_ms: float, answer: tuple[Call, LoadReport]) -> None:
        call, report = answer
        if not call.over:
            self._recorder.answered(call.number, now_ms - self._trace.arrived_ms[call.number])
            self._finish(now_ms, call, Outcome.OK, report)
            self._stop(now_ms, call.other, Outcome.CANCELLED)

    def _give_up(self, now_ms: float, call: Call) -> None:
        self._stop(now_ms, call.other, Outcome.TIMEOUT)
        self._stop(now_ms, call, Outcome.TIMEOUT)

    def _stop(self, now_ms: float, call: Call | None, outcome: Outcome) -> None:
        """The router waits no longer for a call, and says so to its replica."""
        if call is not None and not call.over:
            self._finish(now_ms, call, outcome, None)
            self._at(now_ms + self._trace.hop_ms, self._withdraw, call)

    def _withdraw(self, _now_ms: float, call: Call) -> None:
        if call in call.replica.waiting:
            call.replica.waiting.remove(call)
            call.replica.assigned -= 1

    def _finish(self, now_ms: float, call: Call, outcome: Outcome, report: LoadReport | None) -> None:
        call.over = True
        ended = Ended(call.replica.number, outcome, now_ms - call.sent_ms, report)
        self._routers[call.router].finished(call.flight, ended, now_ms=now_ms)
