"""What a caller need not wait for: done after its answer, but before the next decision."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Afterwards:
    """Work that was put off, in order. Belongs to one event loop.

    Learning from an answer takes longer than sending the call did. Put off until the loop is free, it costs
    no answer any time; and since every decision catches up first, none is made on less than is known.
    """

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()

    def do(self, work: Callable[[], None]) -> None:
        """Do this soon."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.catch_up)
        self._waiting.append(work)

    def catch_up(self) -> None:
        """Do now what waits. What fails is reported to the loop: whoever catches up is another request."""
        while self._waiting:
            work = self._waiting.popleft()
            try:
                work()
            except Exception as error:  # noqa: BLE001 - reported
                told = {"message": "work put off until after an answer failed", "exception": error}
                asyncio.get_running_loop().call_exception_handler(told)
