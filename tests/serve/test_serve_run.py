"""`serve run serve_app:app` and `serve run serve_app:build key=value` deploy the hub on bundled servers."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray import serve

from serve_app.launch import broker_traits, local_settings, topics_ready
from serve_app.local_stack import Endpoints, LocalStack
from tests.support.eventually import eventually

SERVE = str(Path(sys.executable).with_name("serve"))
NAME = "by-command"

pytestmark = [pytest.mark.serve, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def servers() -> Iterator[Endpoints]:
    """The bundled servers, with the hub's topics."""
    with LocalStack(broker="tansu") as stack:
        topics_ready(local_settings(stack, "tansu"), create=True)
        yield stack.endpoints


def _environment(**hub: str) -> dict[str, str]:
    """What a person exports before the command: how to talk to Tansu, and what the case adds."""
    traits = {
        f"HUB_KAFKA__{name.upper()}": json.dumps(value) for name, value in broker_traits("tansu").items()
    }
    return {**os.environ, **traits, **hub}


def _serve_run(*what: str, environment: dict[str, str]) -> None:
    """Run the command against the test run's Ray; the replicas get the token secret as their nodes would."""
    replicas = json.dumps({"env_vars": {"HUB_TOKEN_SECRET": "a-secret-of-this-test-and-nothing-else"}})
    address = ray.get_runtime_context().gcs_address
    options = ["--address", address, "--name", NAME, "--non-blocking", "--runtime-env-json", replicas]
    subprocess.run([SERVE, "run", *options, *what], env=environment, check=True, timeout=200)


async def _owners(deployment: str) -> int:
    """How many replicas own partitions, once all of them are ready."""

    def ready() -> int:
        found = serve.get_deployment_handle(deployment, NAME).broadcast("status").results(timeout_s=5)
        assert all(status["ready"] for status in found), found
        return len(found)

    return int(await eventually(lambda: asyncio.to_thread(ready), timeout_s=60))


@pytest.fixture(autouse=True)
def _ends_with_the_test(ray_runtime: None) -> Iterator[None]:
    yield
    serve.delete(NAME)


async def test_app_is_configured_by_the_environment(servers: Endpoints) -> None:
    """`serve_app:app` is the hub of config/hub.yaml with HUB_ variables on top, and it comes up."""
    _serve_run(
        "serve_app:app",
        environment=_environment(
            HUB_KAFKA__BOOTSTRAP=servers.kafka,
            HUB_NATS__SERVERS=json.dumps([servers.nats]),
            HUB_REDIS__URL=servers.redis,
        ),
    )
    assert serve.status().applications[NAME].status.value == "RUNNING"
    assert await _owners("Fanout") == 1
    assert await _owners("Forecaster") == 1


async def test_builder_takes_key_and_value(servers: Endpoints) -> None:
    """`serve_app:build` takes servers and numbers of workers from the command line."""
    _serve_run(
        "serve_app:build",
        f"kafka={servers.kafka}",
        f"nats={servers.nats}",
        f"redis={servers.redis}",
        "fanout_workers=2",
        environment=_environment(),
    )
    assert serve.status().applications[NAME].status.value == "RUNNING"
    assert await _owners("Fanout") == 2
