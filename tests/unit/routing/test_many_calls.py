"""The engine over many calls: no herding, no black hole, no starving and no stampede."""

from __future__ import annotations

from random import Random

import pytest

from tests.unit.routing.pool_simulation import PoolSimulation, Service

REPLICAS = [f"r{number}" for number in range(8)]


def usual(rng: Random) -> float:
    """Exponential, 10 ms on average."""
    return rng.expovariate(1.0 / 10.0)


def five_times_slower(rng: Random) -> float:
    """Exponential, 50 ms on average."""
    return rng.expovariate(1.0 / 50.0)


def fails_at_once(_rng: Random) -> None:
    """The black hole."""


def pool(**special: Service) -> dict[str, Service]:
    """Eight replicas with two slots each, all of them usual but the special ones."""
    return dict.fromkeys(REPLICAS, usual) | special


@pytest.mark.parametrize("routers", [1, 2, 8])
def test_no_herding(routers: int) -> None:
    """At 0.7 of capacity, routers that share nothing keep every replica in use and queues short."""
    result = PoolSimulation(pool(), routers=routers, seed=routers).run(800, every_ms=10 / 16 / 0.7)

    shares = [result.share(name) for name in REPLICAS]

    assert max(shares) < 1.5 / 8
    assert min(shares) > 0.5 / 8
    assert result.mean_ms < 2.0 * (10 + 2)


def test_replica_that_fails_fast_costs_few_calls() -> None:
    """The fastest failure would attract nearly everything; the gate ends it after four calls per router."""
    result = PoolSimulation(pool(r3=fails_at_once), routers=4, seed=1).run(2000, every_ms=10 / 14 / 0.6)

    assert result.failed <= 4 * 4
    assert result.refused == 0


def test_slow_replicas_get_little_and_are_not_forgotten() -> None:
    """Two of eight are five times slower: they get a few calls, so that a recovery would be seen."""
    slow = {"r0": five_times_slower, "r1": five_times_slower}
    result = PoolSimulation(pool(**slow), routers=4, seed=2).run(1500, every_ms=10 / 12.8 / 0.5)

    share = result.share("r0") + result.share("r1")

    assert 0.002 < share < 0.09
    assert result.mean_ms < 20.0
