"""One hub for the tier: `hub up --local` on Apache Kafka with two fan-out workers, used as people use it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from models.principal import Tier
from serve_app.access import local_token, principal_of
from serve_app.client import HubClient
from serve_app.launch import free_port
from serve_app.local_tenants import CONTROL, wait_until_known
from serve_app.runfile import RunningHub
from serve_app.servers.apache_kafka import missing_reason
from tests.conftest import without_kafka
from tests.support.processes import titled

START_TIMEOUT_S = 240.0
TENANT = "tenant-1"
HUB = (sys.executable, "-m", "serve_app.cli")


@dataclass(frozen=True)
class UpHub:
    """The running hub: where it is, its process, and the environment in which commands find it."""

    address: RunningHub
    process: subprocess.Popen[str]
    environment: dict[str, str]

    def client(self, user: str, *, admin: bool = False) -> HubClient:
        """An HTTP client with a fresh token of the user."""
        return HubClient(self.address.url, self.token(user, admin=admin))

    def token(self, user: str, *, admin: bool = False, entitled_s: int = 3600) -> str:
        """An access token of the user."""
        principal = principal_of(user, tenant=TENANT, tier=Tier.SERVICE, admin=admin, entitled_s=entitled_s)
        return local_token(self.address, principal)

    def pids(self, what: str) -> list[int]:
        """Processes of this hub by their title; at least one, or the test is wrong."""
        found = titled(self.process.pid, what)
        assert found, f"no process of the hub is called {what}"
        return found

    def command(self, *arguments: str, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Run `hub ...` as a person would."""
        return subprocess.run(
            [*HUB, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )


@pytest.fixture(scope="package")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpHub]:
    """Started once for the tier, and ended with it: idle, it would take its share of what the others need."""
    with up_hub(tmp_path_factory.mktemp("state")) as running:
        yield running


@contextmanager
def up_hub(state: Path, **settings: str) -> Iterator[UpHub]:
    """A hub with its files in `state`; its output is shown if it does not come up."""
    if reason := missing_reason():
        without_kafka(reason)
    environment = {
        **os.environ,
        "XDG_STATE_HOME": str(state),
        "RAY_AUTH_MODE": "disabled",
        "COLUMNS": "200",
        "HUB_LOCAL_MODEL_MS": "0",  # calls go to replicas, so that their deaths are felt
        **settings,
    }
    log = (state / "up.log").open("w+")
    port = str(free_port())
    process = subprocess.Popen(
        [*HUB, "up", "--local", "--broker", "kafka", "--port", port, "--fanout-workers", "2"],
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        running = UpHub(_address(state, process, Path(log.name)), process, environment)
        make_tenant(running, TENANT, Tier.SERVICE)
        yield running
    finally:
        _ended(process)
        log.close()


def make_tenant(hub: UpHub, tenant_id: str, tier: Tier) -> None:
    """A tenant whose people the gateway lets in when this returns."""
    admin = principal_of("root", tenant="local", tier=Tier.ENTERPRISE, admin=True)
    owner = {"login": "owner", "name": "Owner"}
    body = {"tenant_id": tenant_id, "name": "The tests", "tier": tier, "owner": owner}
    with HubClient(hub.address.url, local_token(hub.address, admin)) as client:
        client.call("POST", f"{CONTROL}/tenants", body=body)
        wait_until_known(client, tenant_id)


def _ended(process: subprocess.Popen[str]) -> None:
    """End the hub as Ctrl-C does. One that does not must not go on either: it would slow all that follows."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.terminate()
        raise


def _address(state: Path, process: subprocess.Popen[str], log: Path) -> RunningHub:
    file = state / "central-hub" / "hub.json"
    deadline = time.monotonic() + START_TIMEOUT_S
    while not file.is_file():
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"the hub did not come up:\n{log.read_text()[-4000:]}")
        time.sleep(0.05)
    return RunningHub.model_validate_json(file.read_text())
