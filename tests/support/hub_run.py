"""Ticks, requests and the independent reader of a running hub: what goes on while a test hurts it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from serve_app.client import HubClient, Refused
from serve_app.demo.scene import EXAMPLE_TICKS
from tests.e2e.conftest import UpHub

REQUEST = {
    "task": "time_series_forecast",
    "max_latency_ms": 2000,
    "inputs": {"window": [[0.0001, -0.0001] * 128], "context": [[0.0] * 8]},
}


@dataclass(frozen=True)
class Answered:
    """One request: when it was answered, after how long, with which status, and why not if it was refused."""

    at_ns: int
    took_s: float
    status: str
    refusal: str = ""


class Load:
    """Callers that ask for inference without pause, and what they were answered."""

    def __init__(self, tokens: list[str], url: str) -> None:
        self.answers: list[Answered] = []
        self._stop = threading.Event()
        self._callers = ThreadPoolExecutor(len(tokens))
        self._running = [self._callers.submit(self._ask, HubClient(url, token)) for token in tokens]

    def end(self) -> list[Answered]:
        """Stop asking; what was answered."""
        self._stop.set()
        for caller in self._running:
            caller.result(timeout=60)
        self._callers.shutdown()
        return self.answers

    def _ask(self, client: HubClient) -> None:
        with client:
            while not self._stop.is_set():
                began = time.monotonic()
                refusal = _refusal(client)
                status = refusal.split()[0] if refusal else "200"
                self.answers.append(Answered(time.time_ns(), time.monotonic() - began, status, refusal))


@asynccontextmanager
async def asked(hub: UpHub, callers: int = 4) -> AsyncIterator[Load]:
    """So many callers ask while the block runs."""
    load = Load([hub.token(f"caller-{number}") for number in range(callers)], hub.address.url)
    try:
        yield load
    finally:
        await asyncio.to_thread(load.end)


@dataclass(frozen=True)
class Playback:
    """The example ticks, for so many seconds of wall time."""

    seconds: int
    speed: float

    @property
    def arguments(self) -> list[str]:
        """As `hub play` and the reader take them."""
        ticks = [argument for text in EXAMPLE_TICKS for argument in ("--ticks", text)]
        return [*ticks, "--seconds", str(self.seconds), "--speed", str(self.speed)]


def subscribed(hub: UpHub, users: list[str], *paths: str) -> None:
    """Subscribe all of them to these strategies and symbols."""
    for user in users:
        with hub.client(user) as client:
            for path in paths:
                client.call("PUT", f"/api/v1/subscriptions/{path}")


@contextmanager
def played(hub: UpHub, playback: Playback) -> Iterator[subprocess.Popen[bytes]]:
    """`hub play` beside the block."""
    command = [sys.executable, "-m", "serve_app.cli", "play", *playback.arguments]
    with _ended(subprocess.Popen(command, env=hub.environment, stdout=subprocess.DEVNULL)) as process:
        yield process


@contextmanager
def audited(hub: UpHub, playback: Playback) -> Iterator[subprocess.Popen[str]]:
    """The independent reader beside the block; see `ledger_of`."""
    command = [sys.executable, "-m", "serve_app.audit", "--kafka", hub.address.kafka]
    command += ["--strategies", str(Path("config/strategies.yaml").resolve()), *playback.arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with _ended(process) as reader:
        yield reader


def ledger_of(reader: subprocess.Popen[str]) -> dict[str, Any]:
    """Tell the reader that playback has ended; its ledger."""
    output, _ = reader.communicate("end\n", timeout=120)
    return dict(orjson.loads(output.splitlines()[-1]))


def _refusal(client: HubClient) -> str:
    """Why a request was not answered, in the hub's words, and what was decided for it; empty if it was."""
    try:
        client.call("POST", "/api/v1/infer", body=REQUEST)
    except Refused as error:
        return error.message + _decided(client, error.message)
    return ""


def _decided(client: HubClient, refusal: str) -> str:
    """The decision behind a refusal that names one; asked for at once, as it is not kept for long."""
    _, named, decision_id = refusal.rpartition("; hub explain ")
    if not named:
        return ""
    try:
        return f": {client.call('GET', f'/api/v1/decisions/{decision_id}')}"
    except Refused as error:
        return f" (which is not known: {error.message})"


@contextmanager
def _ended(process: subprocess.Popen[Any]) -> Iterator[subprocess.Popen[Any]]:
    """The process, ended with the block whatever happens in it."""
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()
