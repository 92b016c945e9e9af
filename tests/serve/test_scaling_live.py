"""The autoscaling policy in Serve's controller: a pool grows under a step of load and shrinks after it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from typing import Final

import pytest
from ray import serve
from ray.serve import RunTarget
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema

from deployments.pool.config import PoolConfig
from deployments.router import load_table
from deployments.router.names import pool_app
from deployments.router.scaling import APPLICATION_POLICY
from tests.serve.client import BY_VALUE, a_client
from tests.serve.deleted import deleted
from tests.serve.growing import Load, by_target, card_of, growing_pool
from tests.support.eventually import eventually

pytestmark = [pytest.mark.serve, pytest.mark.slow, pytest.mark.timeout(300)]

log = logging.getLogger(__name__)

POOL, APPLICATION, SERVES = "scaled-pool", "scaled-application", "scaled-by-target"
OURS: Final = (POOL, APPLICATION)
STEP, TRICKLE = 18.0, 3.0
"""Calls a second of 150 ms: 2.7 busy slots where a replica has two, then a quarter of a replica."""
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


def declared(pool: str) -> ServeDeploySchema:
    """What a configuration file says of an application with our policy for all its deployments."""
    application = {
        "name": pool_app(pool),
        "route_prefix": None,
        "import_path": "tests.serve.growing:build",
        "args": config(pool).model_dump(mode="json"),
        "autoscaling_policy": {"policy_function": APPLICATION_POLICY},
    }
    return ServeDeploySchema.model_validate({"applications": [application]})


@pytest.fixture
async def loads(ray_runtime: None) -> AsyncIterator[Mapping[str, Load]]:
    """Pools with our rule, set for the pool or for its application, and with Serve's; loads yet to begin."""
    apps = {POOL: growing_pool(config(POOL)), SERVES: by_target(config(SERVES), target=2.0)}
    serve.run_many([RunTarget(app, name=pool_app(name), route_prefix=None) for name, app in apps.items()])
    serving = _get_global_client()
    assert serving is not None
    serving.deploy_apps(declared(APPLICATION), _blocking=True)
    pools = (*OURS, SERVES)
    clients = {name: a_client([name], by_reference_from=BY_VALUE, cards=[card_of(name)]) for name in pools}
    await asyncio.gather(*(client.pools.open(seen_timeout_s=10) for client in clients.values()))
    yield {name: Load(client, STEP) for name, client in clients.items()}
    for client in clients.values():
        await client.pools.close()
    deleted(*map(pool_app, clients))
    for name in clients:
        load_table.TABLE.replicas_updated(name, [], now_ns=time.time_ns())


async def test_pools_grow_under_a_step_and_shrink_after_it(loads: Mapping[str, Load]) -> None:
    """Calls are answered all the while, none is lost when replicas go, and Serve's rule is no quicker."""
    ours = [loads[pool] for pool in OURS]
    assert [len(replicas(pool)) for pool in loads] == [1, 1, 1]
    async with asyncio.TaskGroup() as tasks:
        for load in loads.values():
            tasks.create_task(load.offer())
        second_s = {pool: await eventually(load.second_served_s, 50) for pool, load in loads.items()}
        await eventually(lambda: all(all_answered(load, for_s=3.0) for load in ours), timeout_s=20)
        assert min(len(replicas(pool)) for pool in OURS) > 1

        ended_s = pace(loads, TRICKLE)
        await eventually(lambda: all(len(replicas(pool)) == 1 for pool in OURS), timeout_s=60)
        one_again_s = ours[0].now_s() - ended_s
        pace(loads, 0.0)

    log.info("second replica served after %s s, one again after %.1f s", second_s, one_again_s)
    log.info("refused: %s", {pool: len(load.refused_s) for pool, load in loads.items()})
    assert max(load.longest_pause_s() for load in ours) < 2.0
    assert max(load.refused_since(ended_s) for load in ours) <= 2
    assert max(second_s[pool] for pool in OURS) < second_s[SERVES] + PUSHED_EVERY_S


def pace(loads: Mapping[str, Load], rate: float) -> float:
    """So many calls a second from now on; tells when that is."""
    for load in loads.values():
        load.rate = rate
    return next(iter(loads.values())).now_s()


def replicas(pool: str) -> tuple[str, ...]:
    """Those that the process knows."""
    return load_table.TABLE.replicas(pool)


def all_answered(load: Load, *, for_s: float) -> bool:
    """Whether answers came and nothing was refused in the last seconds."""
    since_s = load.now_s() - for_s
    return load.answers[-1][0] > since_s and max(load.refused_s, default=0.0) < since_s
