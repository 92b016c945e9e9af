"""Ten deaths of an inference replica with calls in flight, while ticks and requests come in."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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
    with _ended(_auditor(hub)) as auditor, _ended(_playing(hub)) as playing:
        answers = await _asked_while(hub, _kills(hub))
        assert playing.wait(timeout=SECONDS + 60) == 0
        output, _ = auditor.communicate("end\n", timeout=120)
    ledger: dict[str, Any] = json.loads(output.splitlines()[-1])

    assert ledger["clean"], "\n".join(ledger["lines"])
    assert not [status for status in answers if status.startswith("5")], answers
    assert answers["200"] > 100, answers
    missed = sum(ledger["skipped"].get(f"patient@1 {why}", 0) for why in ("refused", "timeout"))
    assert missed <= KILLS, ledger["skipped"]


async def _asked_while(hub: UpHub, happening: Awaitable[None]) -> Counter[str]:
    load = Load(hub)
    try:
        await happening
    finally:
        answers = await asyncio.to_thread(load.end)
    return answers


async def _kills(hub: UpHub) -> None:
    dead: set[int] = set()
    with hub.client("observer", admin=True) as observer:
        for _ in range(KILLS):
            victims = await eventually(lambda: _two_that_answer(hub, observer, dead), timeout_s=90)
            os.kill(victims[0], signal.SIGKILL)
            dead.add(victims[0])


def _two_that_answer(hub: UpHub, observer: HubClient, dead: set[int]) -> list[int]:
    """The replicas of the pool, once two are ready again: a death must leave somebody to answer."""
    found = replicas(hub.process.pid, "pool-light")
    assert len(found) == 2, found
    assert not dead.intersection(found)
    health = json.dumps(observer.call("GET", "/health"))
    assert "light: 2" in health, health
    return found


@contextmanager
def _ended(process: subprocess.Popen[Any]) -> Iterator[subprocess.Popen[Any]]:
    """The process, ended with the block whatever happens in it."""
    try:
        yield process
    finally:
        process.kill()
        process.wait()


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
