"""An asyncio loop on virtual time: sleeping costs nothing, and the same program runs the same way every time.

Whenever nothing is ready, the clock jumps to the next timer. A loop with no timer left would wait for ever;
that is an error here. No sockets, threads or subprocesses.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Stalled(RuntimeError):
    """Everybody waits for something that nobody will do."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` starts at 0 and moves only when everybody sleeps."""

    def __init__(self) -> None:
        self._now_s = 0.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self._now_s

    def jump(self, seconds: float) -> None:
        self._now_s += seconds


class _JumpingSelector(selectors.SelectSelector):
    """Where the loop would sleep until its next timer, time jumps there."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stalled("no timer and nothing ready: every task waits for something that nobody will do")
        self._loop.jump(max(timeout, 0.0))
        return []


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Like asyncio.run, on virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


async def until(check: Callable[[], object], *, within_s: float = 10.0) -> None:
    """Wait on virtual time, which costs nothing; TimeoutError if it does not become true."""
    async with asyncio.timeout(within_s):
        while not check():  # noqa: ASYNC110 - nobody could set an event for everything a test may ask
            await asyncio.sleep(0.01)


async def later(seconds: float) -> None:
    """Let virtual time pass: what expires or is tried again within it has been."""
    loop = asyncio.get_running_loop()
    passed: asyncio.Future[None] = loop.create_future()

    def pass_on() -> None:
        if not passed.done():
            passed.set_result(None)

    timer = loop.call_later(seconds, pass_on)
    try:
        await passed
    finally:
        timer.cancel()
