"""How a command that started processes is ended: by Ctrl-C and by SIGTERM through the same door."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn

TERMINATED: Final = 128 + signal.SIGTERM
"""The exit code of who ended because SIGTERM asked for it, as shells have it."""


def obey_sigterm() -> None:
    """From now on SIGTERM is raised in the main thread as SystemExit."""
    signal.signal(signal.SIGTERM, _terminate)


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """A Ctrl-C or an obeyed SIGTERM in the block is raised at its end. For blocks of seconds that start
    processes: Python drops what is raised while a process forks. Handlers that the block replaced come back.
    """
    if threading.current_thread() is not threading.main_thread():  # no other one is interrupted
        yield
        return
    came: list[int] = []
    heeded = [one for one in (signal.SIGINT, signal.SIGTERM) if callable(signal.getsignal(one))]
    before = {one: signal.signal(one, lambda number, _: came.append(number)) for one in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise SystemExit(TERMINATED) if came[0] == signal.SIGTERM else KeyboardInterrupt


def _terminate(*_: Any) -> NoReturn:
    raise SystemExit(TERMINATED)
