"""Takes a process most of its processor time: by turns it is stopped for 200 ms and left to run for 20 ms.

Runs as its own small process, by file path and with the standard library alone:
`python -I -S throttle.py PID`. It ends when its standard input does and then lets the process run, so that
nothing stays stopped however the starter died.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from collections.abc import Callable

STOPPED_S = 0.2
RUNNING_S = 0.02


def throttle(pid: int, ended: Callable[[float], bool]) -> None:
    """Stop and continue by turns; `ended` waits so many seconds and says whether that is enough."""
    turns = ((signal.SIGSTOP, STOPPED_S), (signal.SIGCONT, RUNNING_S))
    with contextlib.suppress(ProcessLookupError):  # the process ended: there is nothing left to slow
        try:
            while True:
                for number, seconds in turns:
                    os.kill(pid, number)
                    if ended(seconds):
                        return
        finally:
            os.kill(pid, signal.SIGCONT)


def _input_ended(seconds: float) -> bool:
    return bool(select.select([sys.stdin], [], [], seconds)[0])


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the starter, too, and that closes the input
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    throttle(int(sys.argv[1]), _input_ended)
