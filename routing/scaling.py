"""How many replicas a pool should have, from what its replicas say of their calls.

    offered load (Erlang)   a = arrivals a second * service time, where it will be when new replicas are ready
    servers                 a + beta * sqrt(a)          square-root staffing, Halfin and Whitt 1981
    replicas                servers / slots, rounded up, within bounds

`beta` follows from the share of calls that may have to wait for a slot. Two more rules, because arrivals are
only those that were admitted: a pool that is saturated says no more than that it is too small, so it grows by
a share of itself; one whose queues cost deadlines gets one more replica in any case. A dead band keeps it
from going down and up again.
"""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist
from typing import Annotated, Final, NamedTuple

from pydantic import Field

from models.base import Frozen

_NORMAL: Final = NormalDist()
_TREND_S: Final = 15.0
"""Time constant that growth is measured with."""


class ScalingConfig(Frozen):
    """`may_wait` is the share of calls that may find no free slot. `ready_s` is how long a new replica takes
    to be there, `drain_s` how quickly a queue is to be gone. A pool whose slots are busy for `saturated` of
    the time grows by the share `leap`, one where more than `may_miss` of the calls miss their deadline for
    waiting by one replica. It shrinks only if that frees more than `band` of it.
    """

    may_wait: Annotated[float, Field(gt=0, lt=1)] = 0.1
    ready_s: Annotated[float, Field(ge=0)] = 15.0
    drain_s: Annotated[float, Field(gt=0)] = 5.0
    saturated: Annotated[float, Field(gt=0, le=1)] = 0.95
    leap: Annotated[float, Field(gt=0, le=4)] = 1.0
    may_miss: Annotated[float, Field(ge=0, le=1)] = 0.005
    band: Annotated[float, Field(ge=0, lt=1)] = 0.15


class PoolState(NamedTuple):
    """A pool over the last seconds: replicas that run, slots of each, calls that arrived a second and those
    that wait now in all, mean service time, share of slot time in use, and share of calls that would have met
    their deadline had they not waited.
    """

    replicas: int
    slots: int
    arrived_per_s: float
    service_ms: float
    queued: float
    busy: float
    waited: float

    @property
    def erlangs(self) -> float:
        """The load that is offered: how many slots it keeps busy on average."""
        return self.arrived_per_s * self.service_ms / 1e3


class Trend(NamedTuple):
    """The offered load when it was last looked at (seconds), and by how much it grows a second."""

    at_s: float
    erlangs: float
    growth_per_s: float = 0.0

    def followed(self, erlangs: float, now_s: float) -> Trend:
        """The trend with one more look; a look at the same moment or before changes nothing."""
        passed_s = now_s - self.at_s
        if passed_s <= 0.0:
            return self
        weight = 1.0 - math.exp(-passed_s / _TREND_S)
        growth_per_s = (erlangs - self.erlangs) / passed_s
        return Trend(now_s, erlangs, self.growth_per_s + weight * (growth_per_s - self.growth_per_s))


def replicas_wanted(
    pool: PoolState, config: ScalingConfig, *, least: int, most: int, growth_per_s: float = 0.0
) -> int:
    """How many replicas the pool should have, between `least` and `most`."""
    wanted = _by_load(pool, config, growth_per_s)
    if pool.busy >= config.saturated:
        wanted = max(wanted, pool.replicas * (1.0 + config.leap))
    if pool.waited > config.may_miss:
        wanted = max(wanted, pool.replicas + 1.0)
    if pool.replicas * (1.0 - config.band) < wanted < pool.replicas:
        wanted = pool.replicas
    return min(max(math.ceil(wanted - 1e-9), least), most)


def _by_load(pool: PoolState, config: ScalingConfig, growth_per_s: float) -> float:
    """Replicas for the offered load that is expected and the queue that is there, not yet rounded."""
    growth = max(0.0, growth_per_s) * config.ready_s
    backlog = pool.queued * pool.service_ms / 1e3 / config.drain_s
    erlangs = pool.erlangs + growth + backlog
    return (erlangs + beta(config.may_wait) * math.sqrt(erlangs)) / pool.slots


@cache
def beta(may_wait: float) -> float:
    """The spare servers per square root of load with which that share of calls waits.

    The root of P(wait) = 1 / (1 + beta * Phi(beta) / phi(beta)).
    """
    low, high = 0.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2.0
        waiting = 1.0 / (1.0 + middle * _NORMAL.cdf(middle) / _NORMAL.pdf(middle))
        low, high = (middle, high) if waiting > may_wait else (low, middle)
    return high
