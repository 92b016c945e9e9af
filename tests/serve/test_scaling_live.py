"""The autoscaling policy in Serve's controller: a pool grows under a step of load and shrinks after it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

import pytest
from ray import serve
from ray.serve import RunTarget

from deployments.pool.config import PoolConfig
from deployments.pool.deployment import serve_options
from deployments.router import load_table
from deployments.router.names import pool_app
from tests.serve.client import BY_VALUE, a_client
from tests.serve.growing import Load, card_of, growing_pool
from tests.support.eventually import eventually

pytestmark = [pytest.mark.serve, pytest.mark.slow, pytest.mark.timeout(300)]

OURS, SERVES = "growing-ours", "growing-serves"
STEP, TRICKLE = 24.0, 3.0
"""Calls a second of 150 ms: 3.6 busy slots where a replica has two, then a quarter of a replica."""
PUSHED_EVERY_S: Final = 10.0
"""How often Serve's replicas and handles tell its controller what they counted."""


def config(pool: str) -> PoolConfig:
    """One replica that may become three, with the shortest delays."""
    return PoolConfig(
        name=pool,
        repository="unused",
        replicas=1,
        max_replicas=3,
        look_back_s=PUSHED_EVERY_S + 0.5,
        upscale_delay_s=0.0,
        downscale_delay_s=2.0,
        batch=False,
        shutdown_s=1.0,
    )


def by_target(pool: str) -> Mapping[str, Any]:
    """Serve's own rule between the same bounds and with the same delays, at its default target."""
    scaling = {**serve_options(config(pool))["autoscaling_config"], "target_ongoing_requests": 2}
    del scaling["policy"]
    return {"autoscaling_config": scaling}


@pytest.fixture
async def loads(ray_runtime: None) -> AsyncIterator[Mapping[str, Load]]:
    """A pool with our rule and one with Serve's, and a load for each that has not begun."""
    pools = {OURS: growing_pool(config(OURS)), SERVES: growing_pool(config(SERVES), **by_target(SERVES))}
    serve.run_many([RunTarget(app, name=pool_app(name), route_prefix=None) for name, app in pools.items()])
    clients = {name: a_client([name], by_reference_from=BY_VALUE, cards=[card_of(name)]) for name in pools}
    await asyncio.gather(*(client.pools.open(seen_timeout_s=10) for client in clients.values()))
    yield {name: Load(client, STEP) for name, client in clients.items()}
    for name, client in clients.items():
        await client.pools.close()
        serve.delete(pool_app(name))
        load_table.TABLE.replicas_updated(name, [], now_ns=time.time_ns())


async def test_a_pool_grows_under_a_step_and_shrinks_after_it(
    loads: Mapping[str, Load], record_property: Callable[[str, object], None]
) -> None:
    """Calls are answered all the while, none is lost when replicas go, and Serve's rule is no quicker."""
    assert [len(replicas(pool)) for pool in loads] == [1, 1]
    async with asyncio.TaskGroup() as tasks:
        for load in loads.values():
            tasks.create_task(load.offer())
        second_s = {pool: await eventually(load.second_served_s, 50) for pool, load in loads.items()}
        await eventually(lambda: all_answered(loads[OURS], for_s=3.0), timeout_s=20)
        assert len(replicas(OURS)) > 1

        ended_s = loads[OURS].now_s()
        for load in loads.values():
            load.rate = TRICKLE
        await eventually(lambda: len(replicas(OURS)) == 1, timeout_s=60)
        one_again_s = loads[OURS].now_s() - ended_s
        await eventually(lambda: all_answered(loads[OURS], for_s=1.0))
        for load in loads.values():
            load.rate = 0.0

    for pool, seconds in second_s.items():
        record_property(f"second_served_s_{pool}", round(seconds, 1))
    record_property("one_again_s", round(one_again_s, 1))
    assert loads[OURS].longest_pause_s() < 2.0
    assert second_s[OURS] < second_s[SERVES] + PUSHED_EVERY_S


def replicas(pool: str) -> tuple[str, ...]:
    """Those that the process knows."""
    return load_table.TABLE.replicas(pool)


def all_answered(load: Load, *, for_s: float) -> bool:
    """Whether answers came and nothing was refused in the last seconds."""
    since_s = load.now_s() - for_s
    return load.answers[-1][0] > since_s and max(load.refused_s, default=0.0) < since_s
