"""Ends a server whose starter is gone, however that one died.

Runs as its own small process beside each server, by file path and with the standard library alone, so that it
costs milliseconds: `python -I -S leash.py SERVER_PID`. Ctrl-C and clean exits never need it; kill -9 does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

POLL_S = 0.25


def alive(pid: int) -> bool:
    """Whether the process exists, a zombie included: its starter has not yet taken note of its end."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def watch(server: int, *, starter: int) -> None:
    """Return when the server has ended; end its whole process group when the starter has."""
    while alive(server):
        if os.getppid() != starter:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server, signal.SIGKILL)
            return
        time.sleep(POLL_S)


if __name__ == "__main__":
    watch(int(sys.argv[1]), starter=int(sys.argv[2]))
