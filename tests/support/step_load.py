"""A pool under a step of load, scaled by a rule, in virtual time: who misses, and what the replicas cost.

Poisson arrivals, exponential service, one queue, first come first served; who is not served by the deadline
leaves. Replicas record at every look, but the rule sees what was pushed, as in Serve: every ten seconds, the
mean over the look-back period. New replicas take a while to start; superfluous ones end at once.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple

from routing.scaling import PoolState, ScalingConfig, Trend, replicas_wanted

SLOTS: Final = 2
SERVICE_S: Final = 0.15
DEADLINE_S: Final = 0.6
START_S: Final = 15.0
LOOK_S: Final = 0.5
PUSH_S: Final = 10.0
LEAST, MOST = 2, 40
STEP_S, DOWN_S, END_S = 120.0, 420.0, 720.0
SETTLED_S: Final = 60.0
BASE_ERLANGS, STEP_ERLANGS = 6.0, 30.0


class Seen(NamedTuple):
    """What a rule is shown: means over the look-back period, as of the last push."""

    now_s: float
    target: int
    pool: PoolState
    ongoing: float


Rule = Callable[[Seen], int]


class OurRule:
    """What the policy does with Serve's `downscale_delay_s` around it."""

    look_back_s = 12.0

    def __init__(self, config: ScalingConfig | None = None, *, down_s: float = 120.0) -> None:
        self._config = config or ScalingConfig(ready_s=START_S)
        self._trend: Trend | None = None
        self._delay = _Delay(up_s=0.0, down_s=down_s)

    def __call__(self, seen: Seen) -> int:
        trend = self._trend or Trend(seen.now_s, seen.pool.erlangs)
        self._trend = trend.followed(seen.pool.erlangs, seen.now_s)
        wanted = replicas_wanted(
            seen.pool, self._config, least=LEAST, most=MOST, growth_per_s=self._trend.growth_per_s
        )
        return self._delay(seen, wanted)


class ServeRule:
    """Ray Serve 2.60: ongoing requests over `target_ongoing_requests`, held for the delays; its defaults."""

    def __init__(
        self, *, target: float = 2.0, look_back_s: float = 30.0, up_s: float = 30.0, down_s: float = 600.0
    ) -> None:
        self.look_back_s = look_back_s
        self._target = target
        self._delay = _Delay(up_s=up_s, down_s=down_s)

    def __call__(self, seen: Seen) -> int:
        wanted = -int(-seen.ongoing // self._target)
        return self._delay(seen, min(max(wanted, LEAST), MOST))


class _Delay:
    """A change is made when it was wanted, in one direction, for as long as Serve is told to wait."""

    def __init__(self, *, up_s: float, down_s: float) -> None:
        self._wait_s = {True: up_s, False: down_s}
        self._up = True
        self._since_s: float | None = None

    def __call__(self, seen: Seen, wanted: int) -> int:
        if wanted == seen.target:
            self._since_s = None
            return wanted
        up = wanted > seen.target
        if self._since_s is None or up is not self._up:
            self._up, self._since_s = up, seen.now_s
        if seen.now_s - self._since_s < self._wait_s[up]:
            return seen.target
        self._since_s = None
        return wanted


@dataclass
class Outcome:
    """Requests from the step on that missed their deadline because they had to wait, in all and after the
    first minute; and replica-seconds from then on.
    """

    asked: int = 0
    missed: int = 0
    missed_later: int = 0
    replica_s: float = 0.0

    @property
    def missed_share(self) -> float:
        return self.missed / self.asked


class _Look(NamedTuple):
    at_s: float
    arrived: int
    ended: int
    served_s: float
    waited: int
    queued: int
    ongoing: int
    running: int


def scaled(rule: OurRule | ServeRule, seed: int) -> Outcome:
    """Play the step load once."""
    return _World(rule, Random(seed)).play()


class _World:
    def __init__(self, rule: OurRule | ServeRule, rng: Random) -> None:
        self._rule = rule
        self._rng = rng
        self._outcome = Outcome()
        self._running = self._target = 5
        self._starting: deque[float] = deque()
        self._ends: list[float] = []
        self._queue: deque[float] = deque()
        self._looks: deque[_Look] = deque()
        self._pushed: list[_Look] = []
        self._arrived = self._ended = self._waited = 0
        self._served_s = 0.0

    def play(self) -> Outcome:
        now_s, next_look_s = 0.0, LOOK_S
        while now_s < END_S:
            erlangs = STEP_ERLANGS if STEP_S <= now_s < DOWN_S else BASE_ERLANGS
            now_s += self._rng.expovariate(erlangs / SERVICE_S)
            while next_look_s <= now_s:
                self._advance(next_look_s)
                self._look(next_look_s)
                next_look_s += LOOK_S
            self._advance(now_s)
            self._arrived += 1
            self._outcome.asked += now_s >= STEP_S
            self._queue.append(now_s)
            self._serve(now_s)
        return self._outcome

    def _advance(self, now_s: float) -> None:
        """Free what has ended until now, and serve who waits at that moment."""
        while self._ends and self._ends[0] <= now_s:
            self._serve(heapq.heappop(self._ends))

    def _serve(self, now_s: float) -> None:
        while self._queue and len(self._ends) < self._running * SLOTS:
            arrived_s = self._queue.popleft()
            left_s = arrived_s + DEADLINE_S - now_s
            takes_s = self._rng.expovariate(1.0 / SERVICE_S)
            if left_s > 0.0:
                heapq.heappush(self._ends, now_s + takes_s)
                self._served_s += takes_s
            waited_too_long = left_s <= 0.0 or left_s < takes_s <= DEADLINE_S
            self._ended += 1
            self._waited += waited_too_long
            self._outcome.missed += waited_too_long and arrived_s >= STEP_S
            self._outcome.missed_later += waited_too_long and arrived_s >= STEP_S + SETTLED_S

    def _look(self, now_s: float) -> None:
        while self._starting and self._starting[0] <= now_s:
            self._starting.popleft()
            self._running += 1
        self._serve(now_s)
        ongoing = len(self._queue) + len(self._ends)
        self._looks.append(
            _Look(
                now_s,
                self._arrived,
                self._ended,
                self._served_s,
                self._waited,
                len(self._queue),
                ongoing,
                self._running,
            )
        )
        self._arrived = self._ended = self._waited = 0
        self._served_s = 0.0
        if now_s % PUSH_S < LOOK_S:
            since_s = now_s - self._rule.look_back_s
            self._pushed = [look for look in self._looks if look.at_s > since_s]
        if self._pushed:
            self._scale(now_s, self._rule(self._seen(now_s)))
        if now_s >= STEP_S:
            self._outcome.replica_s += (self._running + len(self._starting)) * LOOK_S

    def _seen(self, now_s: float) -> Seen:
        looks = self._pushed
        ended = max(1, sum(look.ended for look in looks))
        slot_s = sum(look.running * SLOTS for look in looks) * LOOK_S
        served_s = sum(look.served_s for look in looks)
        pool = PoolState(
            replicas=self._running,
            slots=SLOTS,
            arrived_per_s=sum(look.arrived for look in looks) / (len(looks) * LOOK_S),
            service_ms=SERVICE_S * 1e3,
            queued=sum(look.queued for look in looks) / len(looks),
            busy=min(1.0, served_s / slot_s),
            waited=sum(look.waited for look in looks) / ended,
        )
        return Seen(now_s, self._target, pool, sum(look.ongoing for look in looks) / len(looks))

    def _scale(self, now_s: float, wanted: int) -> None:
        for _ in range(wanted - self._target):
            self._starting.append(now_s + START_S)
        for _ in range(self._target - wanted):
            if self._starting:
                self._starting.pop()
            else:
                self._running -= 1
        self._target = wanted
