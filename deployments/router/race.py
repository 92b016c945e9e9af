"""A call and, once that is late, a second one beside it: the first answer counts, the other call is stopped.

Few calls are ever late. Hence the first runs on its caller's own task and costs a timer; only the second gets
a task of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from models.answer import Answer
from models.errors import HubError

Call = Coroutine[Any, Any, Answer]
LookAfter = Callable[[], float | None]
"""In how many ms to look whether a call that was just made is late; None: never."""
Look = Callable[[], Call | float | None]
"""What to do about a call that is late: make this one beside it, look again in so many ms, or nothing."""


class Race:
    """A first call and at most one beside it. Used once, in the loop that made it."""

    def __init__(self, look_after: LookAfter, look: Look) -> None:
        self._look_after = look_after
        self._look = look
        self._loop = asyncio.get_running_loop()
        self._interrupt = asyncio.timeout(None)
        self._first_is_out = False
        self._timer: asyncio.Handle | None = None
        self._second: asyncio.Task[Answer] | None = None

    @property
    def hedged(self) -> bool:
        """Whether a second call was made."""
        return self._second is not None

    async def run(self, first: Call) -> Answer:
        """The first answer; the error of the first call if neither has one. Nothing runs on afterwards."""
        self._timer = self._loop.call_soon(self._sent)  # when the first call is out, and waits
        try:
            return await self._first(first)
        except (TimeoutError, HubError):
            if answer := await self._other_answer():
                return answer
            raise
        finally:
            await self._stop()

    async def _first(self, call: Call) -> Answer:
        """The answer of the first call; TimeoutError as soon as the second has answered."""
        async with self._interrupt:
            self._first_is_out = True
            try:
                return await call
            finally:
                self._first_is_out = False

    def _sent(self) -> None:
        self._look_in(self._look_after())

    def _look_in(self, ms: float | None) -> None:
        self._timer = None if ms is None else self._loop.call_later(ms / 1e3, self._late)

    def _late(self) -> None:
        found = self._look()
        if found is None or isinstance(found, float):
            self._look_in(found)
        else:
            self._second = self._loop.create_task(found)
            self._second.add_done_callback(self._ended)

    def _ended(self, second: asyncio.Task[Answer]) -> None:
        if self._first_is_out and _answered(second):
            self._interrupt.reschedule(self._loop.time())

    async def _other_answer(self) -> Answer | None:
        if self._second is None:
            return None
        await asyncio.wait({self._second})
        return self._second.result() if _answered(self._second) else None

    async def _stop(self) -> None:
        """Make sure that no second call is out, and that it has been counted out."""
        if self._timer:
            self._timer.cancel()
        if self._second:
            self._second.cancel()
            await asyncio.gather(self._second, return_exceptions=True)


def _answered(call: asyncio.Task[Answer]) -> bool:
    return not call.cancelled() and call.exception() is None
