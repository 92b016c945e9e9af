"""The antagonist slows the replica of a pool with most picks, for the middle third, or nobody."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from serve_app.demo import antagonist
from serve_app.demo.antagonist import Victim, antagonise
from serve_app.demo.table import View
from tests.support.eventually import eventually
from tests.unit.serve_app.test_throttle import stopped

SECONDS = 1.8


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Two replicas of pools, as they would tell of themselves, and their processes."""
    program = [sys.executable, "-I", "-S", "-c", "import time\nwhile True: time.sleep(0.01)"]
    processes = {name: subprocess.Popen(program) for name in ("r1", "r2")}
    found = [Victim(name, "light", process.pid) for name, process in processes.items()]
    monkeypatch.setattr(antagonist, "_running", lambda _: found)
    yield {name: process.pid for name, process in processes.items()}
    for process in processes.values():
        process.kill()
        process.wait()


async def test_busiest_replica_of_a_pool_is_slowed_for_the_middle_third(running: dict[str, int]) -> None:
    """Not the one that answers inside the caller, however often it was picked."""
    view = View(0, 1, 0)
    view.take({"picks": {"ridge": {"local-1": 9, "r1": 3, "r2": 5}}}, 0.0)
    began_ns = time.time_ns()

    slowing = await antagonise(view, ["light"], SECONDS)

    assert slowing is not None
    assert (slowing.replica, slowing.pool, view.victim, view.slowed) == ("r2", "light", "r2", False)
    assert slowing.from_ns - began_ns >= SECONDS / 3 * 1e9
    assert slowing.until_ns - began_ns >= SECONDS * 2 / 3 * 1e9
    await eventually(lambda: not stopped(running["r2"]))


async def test_nobody_is_slowed_if_no_replica_of_a_pool_was_picked(running: dict[str, int]) -> None:
    """By two thirds of the playback it gives up."""
    view = View(0, 1, 0)
    view.take({"picks": {"ridge": {"local-1": 9}}}, 0.0)

    assert await antagonise(view, ["light"], 0.3) is None
    assert view.victim is None
    assert not any(stopped(pid) for pid in running.values())
