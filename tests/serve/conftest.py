"""One Ray for the whole run, with every application that the tier's tests need, started at once."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Final

import pytest
import ray
from ray import serve
from ray.serve import RunTarget
from ray.serve.config import HTTPOptions

from deployments.pool.config import PoolConfig
from deployments.router.names import pool_app
from serve_app.launch import free_port
from tests.serve.caller import build_caller
from tests.serve.client import BY_REFERENCE, BY_VALUE, Client, a_client
from tests.serve.replicas import scripted_pool

POOLS: Final = ("left", "right")
METRICS_EVERY_MS: Final = 2_000
"""Ray exports them every ten seconds if it is not told otherwise; a test waits for them."""
TRANSPORTS: Final = {"actor": BY_REFERENCE, "grpc": BY_VALUE}


@pytest.fixture(scope="session")
def serve_port() -> int:
    """Where Serve's proxy listens."""
    return free_port()


@pytest.fixture(scope="package")
def ray_runtime(serve_port: int) -> Iterator[None]:
    """A Ray of our own, joined by nobody else, in a short directory (socket paths have a limit)."""
    os.environ["RAY_AUTH_MODE"] = "disabled"
    directory = tempfile.mkdtemp(prefix="hub-ray-", dir="/tmp")
    _start_ray(directory)
    try:
        serve.start(http_options=HTTPOptions(host="127.0.0.1", port=serve_port))
        yield
    finally:
        serve.shutdown()  # type: ignore[no-untyped-call]
        _shut_down_ray()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="package")
def applications(ray_runtime: None) -> None:
    """Two scripted pools of two replicas, and two callers inside Serve, one for each transport."""
    pools = [
        RunTarget(
            scripted_pool(PoolConfig(name=name, repository="unused", slots=2, max_queue=2)),
            name=pool_app(name),
            route_prefix=None,
        )
        for name in POOLS
    ]
    callers = [
        RunTarget(build_caller(POOLS, by_reference_from=size), name=f"caller-{name}", route_prefix=None)
        for name, size in TRANSPORTS.items()
    ]
    serve.run_many([*pools, *callers])


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    """Each of Serve's two transports in turn."""
    return str(request.param)


@pytest.fixture
async def client(applications: None, transport: str) -> AsyncIterator[Client]:
    """A routed client in the test's own process, with both pools up."""
    client = a_client(POOLS, by_reference_from=TRANSPORTS[transport])
    await client.pools.open(seen_timeout_s=10)
    yield client
    await client.pools.close()


def _shut_down_ray() -> None:
    """Ray does not wait for the servers it kills, of which their Popen objects complain when collected."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        ray.shutdown()
        gc.collect()


def _start_ray(directory: str) -> None:
    """On a busy machine a raylet may miss the 30 s that Ray allows it: then once more, and once more."""
    for last in (False, False, True):
        try:
            ray.init(
                address="local",
                num_cpus=8,
                include_dashboard=False,
                object_store_memory=256 * 1024 * 1024,
                log_to_driver=False,
                _temp_dir=directory,
                _system_config={"metrics_report_interval_ms": METRICS_EVERY_MS},
            )
        except Exception as error:
            if last or "timed out during startup" not in str(error):
                raise
            _shut_down_ray()
        else:
            return
