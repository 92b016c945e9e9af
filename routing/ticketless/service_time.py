"""How fast one replica is, as one caller knows from the completions of its own calls.

A completion is not a service time: a call that found `ahead` calls on a replica with c slots takes about
service * max(1, (ahead + 1) / c), the *delay* below. Where c is not known, every guess of it has a service
time of its own, and `slots.py` tells which guess is believed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from models.base import Frozen

NS_PER_MS: Final = 1_000_000
_TRIED_ANEW: Final = 0.5
_KNOWN: Final = 0.2
"""What must be left of a belief for a call not to try the replica anew, and to be compared with it."""
_SURE: Final = 2


class SpeedMemory(Frozen):
    """How beliefs of speed follow and fade.

    `gain` weighs a new answer against a belief of just now. The ratio of what was seen to the pool's median
    fades towards 1 with `relax_ms`; that doubles each time a retry finds the replica slow again, up to
    `longest_relax_ms`. `slow` is the multiple of the median from which a replica is slow; one that was not
    called for `retry_ms` is tried anew whether or not a call needs it.
    """

    gain: float = 0.2
    relax_ms: float = 1000.0
    longest_relax_ms: float = 30_000.0
    retry_ms: float = 20_000.0
    slow: float = 1.5


class Middle(NamedTuple):
    """What the replicas of a pool have in common: the median of their service times in ms per guess of their
    slots, the number of the guess that is believed, and whether any of them ever answered.
    """

    medians: Sequence[float]
    best: int
    seen: bool

    @property
    def service_ms(self) -> float:
        return self.medians[self.best]


class ServiceTime:
    """Service times of one replica, one per guess of its slots; the pool's median until one was seen."""

    def __init__(self, guesses: Sequence[int], memory: SpeedMemory) -> None:
        self._guesses = guesses
        self._memory = memory
        self._seen_ms: list[float] | None = None
        self._seen_ns = 0
        self._confirmed = 0

    @property
    def seen_ms(self) -> list[float] | None:
        """Per guess, as of the last call; None if there was none."""
        return self._seen_ms

    def now_ms(self, pool: Middle, now_ns: int) -> float:
        """What a call sent now would take if the replica were idle; the pool's median once a retry has to be.

        A belief that merely faded would not do: where no call ever queues, nobody is worse than one that
        is known to be a little slower, and a healed replica would idle for minutes.
        """
        if self._seen_ms is None or (self._overdue(now_ns) and self.retry(pool, now_ns)):
            return pool.service_ms
        return self._faded(pool.medians, now_ns)[pool.best]

    def retry(self, pool: Middle, now_ns: int) -> bool:
        """Whether a call sent now would try anew what was slow when it was last seen."""
        if self._seen_ms is None or (self._left(now_ns) > _TRIED_ANEW and not self._overdue(now_ns)):
            return False
        return self._seen_ms[pool.best] > self._memory.slow * pool.service_ms

    def errors(self, seen_ms: Sequence[float], pool: Middle, now_ns: int) -> list[float]:
        """Squared logarithm of seen over believed, per guess; nothing where the belief is old or absent."""
        if self._seen_ms is None or self._left(now_ns) < _KNOWN:
            return []
        believed = self._faded(pool.medians, now_ns)
        return [math.log(new / old) ** 2 for new, old in zip(seen_ms, believed, strict=True)]

    def learn(self, seen_ms: Sequence[float], pool: Middle, now_ns: int, *, retry: bool) -> None:
        """Take the service times that one call speaks of. The more a belief has faded the less it resists,
        and one that is tried anew does not.
        """
        if not self._slow_again(seen_ms[pool.best], pool):
            self._confirmed = 0
        elif retry:
            self._confirmed += 1
        old, resists = self._faded(pool.medians, now_ns), 0.0
        if self._seen_ms is not None and not retry:
            resists = (1.0 - self._memory.gain) * self._left(now_ns)
        self._seen_ms = [new + (was - new) * resists for new, was in zip(seen_ms, old, strict=True)]
        self._seen_ns = now_ns

    def replace(self, slow_ms: Sequence[float], now_ns: int, *, retry: bool) -> None:
        """Take service times that are slow for sure, which counts as confirmed without a retry."""
        self._confirmed = max(_SURE, self._confirmed + retry)
        self._seen_ms, self._seen_ns = list(slow_ms), now_ns

    def of_completion(self, elapsed_ns: int, ahead: float) -> list[float]:
        """The service time in ms that a completion speaks of, per guess."""
        return [max(elapsed_ns, 1) / NS_PER_MS / delay(ahead, slots) for slots in self._guesses]

    def _faded(self, medians: Sequence[float], now_ns: int) -> list[float]:
        if self._seen_ms is None:
            return list(medians)
        left = self._left(now_ns)
        return [mid * (was / mid) ** left for was, mid in zip(self._seen_ms, medians, strict=True)]

    def _slow_again(self, seen_ms: float, pool: Middle) -> bool:
        """Nearer to how slow it was than to the median, by ratio: one hiccup is no confirmation."""
        was_ms = pool.service_ms if self._seen_ms is None else self._seen_ms[pool.best]
        return seen_ms > max(self._memory.slow * pool.service_ms, math.sqrt(was_ms * pool.service_ms))

    def _overdue(self, now_ns: int) -> bool:
        return now_ns - self._seen_ns > self._memory.retry_ms * NS_PER_MS

    def _left(self, now_ns: int) -> float:
        doubled_ms = self._memory.relax_ms * 2.0 ** min(self._confirmed, 16)
        return faded(now_ns - self._seen_ns, min(doubled_ms, self._memory.longest_relax_ms))


def delay(ahead: float, slots: int) -> float:
    """Completion over service time for a call that finds `ahead` calls on a replica: max(1, (q + 1) / c)."""
    return max(1.0, (ahead + 1.0) / slots)


def faded(age_ns: int, tau_ms: float) -> float:
    """What is left of a belief after `age_ns`; all of it if the clock went back."""
    return math.exp(-max(0, age_ns) / (tau_ms * NS_PER_MS))
