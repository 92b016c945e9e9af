"""Ten deaths of an inference replica with calls in flight, while ticks and requests come in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from serve_app.client import HubClient, Refused
from serve_app.demo.scene import EXAMPLE_TICKS
from tests.e2e.conftest import UpHub
from tests.support.eventually import eventually
from tests.support.processes import replicas

KILLS, EVERY_S, SPEED = 10, 15.0, 60.0
SECONDS = int(KILLS * EVERY_S + 20)
USERS = [f"chaos-user-{number}" for number in range(20)]
REQUEST = {
    "task": "time_series_forecast",
    "max_latency_ms": 2000,
    "inputs": {"window": [[0.0001, -0.0001] * 128], "context": [[0.0] * 8]},
}


class Load:
    """Four callers that ask for inference without pause, and what they were answered."""

    def __init__(self, hub: UpHub) -> None:
        self.answers: Counter[str] = Counter()
        self._stop = threading.Event()
        self._callers = ThreadPoolExecutor(4)
        self._running = [self._callers.submit(self._ask, hub.client(f"caller-{n}")) for n in range(4)]

    def end(self) -> Counter[str]:
        """Stop asking; what was answered, by status."""
        self._stop.set()
        for caller in self._running:
            caller.result(timeout=60)
        self._callers.shutdown()
        return self.answers

    def _ask(self, client: HubClient) -> None:
        with client:
            while not self._stop.is_set():
                try:
                    client.call("POST", "/api/v1/infer", body=REQUEST)
                    self.answers["200"] += 1
                except Refused as error:
                    self.answers[error.message.split()[0]] += 1


@pytest.mark.timeout(900)
async def test_ten_kills_cost_nobody_an_answer(hub: UpHub) -> None:
    """Ledger clean, no HTTP 5xx, and at most one slot missed per kill."""
    for user in USERS:
        with hub.client(user) as client:
            client.call("PUT", "/api/v1/subscriptions/patient@1/EURUSD")
    load, auditor, playing = Load(hub), _auditor(hub), _playing(hub)
    for _ in range(KILLS):
        os.kill(await _a_replica_of_two(hub), signal.SIGKILL)
    answers = load.end()
    assert playing.wait(timeout=SECONDS + 60) == 0
    output, _ = auditor.communicate("end\n", timeout=120)
    ledger: dict[str, Any] = json.loads(output.splitlines()[-1])

    assert ledger["clean"], "\n".join(ledger["lines"])
    assert not [status for status in answers if status.startswith("5")], answers
    assert answers["200"] > 100
    missed = sum(ledger["skipped"].get(f"patient@1 {why}", 0) for why in ("refused", "timeout"))
    assert missed <= KILLS


async def _a_replica_of_two(hub: UpHub) -> int:
    """A replica of the pool, once two are ready again: its death must leave somebody to answer."""
    with hub.client("observer", admin=True) as client:
        await eventually(lambda: "light: 2" in json.dumps(client.call("GET", "/health")), timeout_s=90)
    return replicas(hub.process.pid, "pool-light")[0]


def _auditor(hub: UpHub) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "serve_app.audit", "--kafka", hub.address.kafka]
    command += ["--strategies", str(Path("config/strategies.yaml").resolve()), *_played()]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _playing(hub: UpHub) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "serve_app.cli", "play", *_played()]
    return subprocess.Popen(command, env=hub.environment, stdout=subprocess.DEVNULL)


def _played() -> list[str]:
    ticks = [argument for text in EXAMPLE_TICKS for argument in ("--ticks", text)]
    return [*ticks, "--seconds", str(SECONDS), "--speed", str(SPEED)]
