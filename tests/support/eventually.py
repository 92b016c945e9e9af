"""Waits for something to become true, with a deadline and a reason when it does not, instead of sleeping."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")
INTERVAL_S = 0.02


@overload
async def eventually(check: Callable[[], Awaitable[T]], timeout_s: float = ...) -> T: ...
@overload
async def eventually(check: Callable[[], T], timeout_s: float = ...) -> T: ...
async def eventually(check: Callable[[], Any], timeout_s: float = 10.0) -> Any:
    """Ask until the answer is truthy, and return it. A check that asserts is asked again, too.

    Raises:
        AssertionError: the deadline passed first; it carries the last complaint or answer.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        answer, complaint = await _ask(check)
        if complaint is None:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {complaint}")
        await asyncio.sleep(INTERVAL_S)


async def _ask(check: Callable[[], Any]) -> tuple[Any, str | None]:
    try:
        asked = check()
        answer = await asked if inspect.isawaitable(asked) else asked
    except AssertionError as error:
        return None, str(error) or repr(error)
    return (answer, None) if answer else (None, f"the answer is still {answer!r}")
