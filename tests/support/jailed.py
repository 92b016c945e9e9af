"""Enters the jail and tries to get out: `python -m tests.support.jailed FILE PID`; prints what came of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson

from inference.confined.jail import enter
from inference.confined.limits import Limits


def main() -> None:
    """Each attempt by name: `ok`, or the error that ended it."""
    secret, parent = Path(sys.argv[1]), int(sys.argv[2])
    connected = socket.socket()
    enter(Limits())
    attempts: dict[str, Callable[[], object]] = {
        "calculate": lambda: np.ones(1000) @ np.ones(1000),
        "thread": lambda: threading.Thread(target=int).start(),
        "read": secret.read_text,
        "write": lambda: secret.write_text("changed"),
        "list": lambda: os.listdir("/"),  # noqa: PTH208 - the call itself
        "socket": socket.socket,
        "connect": lambda: connected.connect(("127.0.0.1", 1)),
        "run": lambda: subprocess.run(["/bin/true"], check=True),
        "fork": os.fork,
        "signal": lambda: os.kill(parent, signal.SIGCONT),
        "memory": lambda: np.ones(1 << 27),
    }
    said = {name: _came_of(attempt) for name, attempt in attempts.items()}
    said["idle"] = "yes" if os.sched_getscheduler(0) == os.SCHED_IDLE else "no"
    os.write(1, orjson.dumps(said))


def _came_of(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except Exception as error:  # noqa: BLE001 - whichever it is
        return type(error).__name__
    return "ok"


if __name__ == "__main__":
    main()
