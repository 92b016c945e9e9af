"""Follows `hub.control`, the log of halts, so closely that a halt is obeyed within a tenth of a second."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final, NoReturn, Protocol

from pydantic import ValidationError

from messaging.ports import Broadcast, EventBus
from messaging.subjects import HALT_SUBJECT
from messaging.topics import CONTROL
from models.errors import MessagingError
from models.halt import Halt

_LOG: Final = logging.getLogger(__name__)
_POLL_S: Final = 0.2
_LATE_MS: Final = 40
"""A halt is in force within a tenth of a second, also where nobody told it ahead of the log."""
FRESH_S: Final = 1.0
"""Nobody acts on a knowledge of halts that is older: a process that was frozen asks first."""


class HaltFold(Protocol):
    """What is told of halts: `signals.halts.Halts`."""

    def apply(self, key: bytes, value: bytes | None) -> None: ...

    def tell(self, halt: Halt, *, now_ns: int) -> None: ...

    def forget_told(self, *, now_ns: int) -> None: ...


class ControlLog:
    """Keeps a fold up to date with the log; owned by the task that runs `follow`."""

    def __init__(
        self, bus: EventBus, fold: HaltFold, *, clock: Callable[[], int], rng: Random, retry_s: float
    ) -> None:
        self._bus = bus
        self._fold = fold
        self._clock = clock
        self._rng = rng
        self._retry_s = retry_s
        self._position: int | None = None
        self._moved = asyncio.Event()
        self._known_s = float("-inf")
        self._away = False

    def known(self) -> bool:
        """Whether the fold holds all that the log held a moment ago."""
        return asyncio.get_running_loop().time() - self._known_s <= FRESH_S

    async def catch_up(self, *, within_s: float) -> bool:
        """Wait until it does, but not longer; return whether it does."""
        return self.known() or await self._until(self.known, within_s)

    async def reach(self, offset: int, *, within_s: float) -> bool:
        """Wait until the record at this offset is folded, but not longer; return whether it is."""
        return await self._until(lambda: (self._position or 0) > offset, within_s)

    async def follow(self) -> NoReturn:
        """Fold the log from its beginning and go on, through every outage of the broker."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._for_ever(self._check))
            await self._for_ever(self._read)

    async def _until(self, holds: Callable[[], bool], within_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not holds():
                    self._moved.clear()
                    await self._moved.wait()
        return holds()

    async def _for_ever(self, work: Callable[[], Awaitable[NoReturn]]) -> NoReturn:
        while True:
            try:
                await work()
            except MessagingError as error:
                self._say_once(error)
                await asyncio.sleep(self._retry_s * (0.5 + self._rng.random()))

    def _say_once(self, error: MessagingError) -> None:
        """One line for an outage, however long it is."""
        if not self._away:
            _LOG.warning("halts cannot be read, so nobody is asked for anything: %s", error.message)
        self._away = True

    async def _read(self) -> NoReturn:
        if self._position is None:
            self._position, _ = await self._bus.bounds(CONTROL.name, 0)
        tail = await self._bus.tail(CONTROL.name, {0: self._position}, late_ms=_LATE_MS)
        try:
            while True:
                for record in await tail.batch(max_wait_s=_POLL_S):
                    self._fold.apply(record.key, record.value)
                self._fold.forget_told(now_ns=self._clock())
                self._position = tail.position(0)
                self._moved.set()
        finally:
            await tail.close()

    async def _check(self) -> NoReturn:
        """Ask where the log ends: that nothing comes in may also mean that nobody answers."""
        loop = asyncio.get_running_loop()
        while True:
            asked_s = loop.time()
            _, end = await self._bus.bounds(CONTROL.name, 0)
            if await self.reach(end - 1, within_s=FRESH_S):
                self._known_s = asked_s
                self._moved.set()
                if self._away:
                    _LOG.warning("halts can be read again")
                self._away = False
            await asyncio.sleep(_POLL_S)


async def hear_halts(
    broadcast: Broadcast, fold: HaltFold, *, clock: Callable[[], int], rng: Random, retry_s: float
) -> NoReturn:
    """Take halts that are told ahead of the log; never a resumption. Whatever fails here costs only time."""
    while True:
        try:
            async for payload in broadcast.hear(HALT_SUBJECT):
                _tell(fold, payload, now_ns=clock())
        except MessagingError as error:
            _LOG.warning("halts are not heard over NATS: %s", error.message)
        await asyncio.sleep(retry_s * (0.5 + rng.random()))


def _tell(fold: HaltFold, payload: bytes, *, now_ns: int) -> None:
    try:
        fold.tell(Halt.from_record(payload), now_ns=now_ns)
    except ValidationError as error:
        _LOG.warning("a broadcast on %s is no halt: %s", HALT_SUBJECT, error.errors(include_url=False)[:1])
