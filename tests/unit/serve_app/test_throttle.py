"""A throttled process stands still most of the time, and runs again however the throttle ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from serve_app.demo.antagonist import Victim, throttled
from serve_app.demo.table import View
from serve_app.demo.throttle import RUNNING_S, STOPPED_S, throttle
from tests.support.eventually import eventually

THROTTLE = (sys.executable, "-I", "-S", str(Path("serve_app/demo/throttle.py").resolve()))
STARTER = """
import subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)
print(child.pid, flush=True)
child.wait()
"""


@pytest.fixture
def victim() -> Iterator[int]:
    """A process that would run for ever."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", "import time\nwhile True: time.sleep(0.01)"]
    )
    yield process.pid
    process.kill()
    process.wait()


def _started(command: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def stopped(pid: int) -> bool:
    """Whether the process stands still."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_turns_are_ten_to_one_and_the_last_word_is_to_run(
    victim: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop, wait long, continue, wait shortly; ended in the middle of a stop it continues once more."""
    done: list[object] = []
    monkeypatch.setattr(os, "kill", lambda _, number: done.append(number))

    def ended(seconds: float) -> bool:
        done.append(seconds)
        return len(done) >= 6

    throttle(victim, ended)

    stop, go = signal.SIGSTOP, signal.SIGCONT
    assert done == [stop, STOPPED_S, go, RUNNING_S, stop, STOPPED_S, go]
    assert pytest.approx(10 * RUNNING_S) == STOPPED_S


async def test_starter_that_is_killed_leaves_nothingstopped(victim: int) -> None:
    """The throttle reads the end of its input even after kill -9 of whoever held it."""
    command = [sys.executable, "-c", STARTER, *THROTTLE, str(victim)]
    starter = _started(command)
    assert starter.stdout is not None
    child = int(starter.stdout.readline())
    await eventually(lambda: stopped(victim))

    starter.kill()
    starter.communicate()

    await eventually(lambda: not _running(child))
    assert not stopped(victim)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_throttle_that_is_told_to_end_leaves_nothingstopped(victim: int, number: int) -> None:
    """SIGTERM ends it; Ctrl-C is the starter's business, and the end of the input comes with it."""
    process = _started([*THROTTLE, str(victim)])
    await eventually(lambda: stopped(victim))

    process.send_signal(number)
    process.communicate(timeout=10)

    assert process.returncode == 0
    assert not stopped(victim)


def test_throttle_of_a_process_that_is_gone_ends() -> None:
    """The replica died meanwhile: nothing to slow, nothing to complain of, though its input stays open."""
    gone = _started([sys.executable, "-I", "-S", "-c", ""])
    gone.communicate()

    with _started([*THROTTLE, str(gone.pid)]) as process:
        assert process.wait(timeout=30) == 0


async def test_error_while_it_is_slowed_lets_the_replica_go(victim: int) -> None:
    """The view shows it as slowed within the block, and as let go after it."""
    view = View(0, 1, 0)

    async def fail_while_it_is_slowed() -> None:
        async with throttled(Victim("r1", "light", victim), view):
            assert (view.victim, view.slowed) == ("r1", True)
            await eventually(lambda: stopped(victim))
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        await fail_while_it_is_slowed()

    assert (view.victim, view.slowed) == ("r1", False)
    assert not stopped(victim)


async def test_cancellation_lets_the_replica_go(victim: int) -> None:
    """What Ctrl-C comes to inside the demo."""

    async def slow_for_ever() -> None:
        async with throttled(Victim("r1", "light", victim), View(0, 1, 0)):
            await asyncio.Event().wait()

    slowing = asyncio.create_task(slow_for_ever())
    await eventually(lambda: stopped(victim))

    slowing.cancel()
    await asyncio.gather(slowing, return_exceptions=True)

    assert not stopped(victim)


def _running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
