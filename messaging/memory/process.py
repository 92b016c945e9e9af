"""A simulated process: what it means that one is frozen, thawed or killed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


def _ignore(_process: str, _step: str) -> None:
    """Nobody watches the steps."""


class Process:
    """Gates everything a process does on its wires. Frozen (SIGSTOP): nothing leaves and no answer is seen
    until `thaw`. Crashed (kill -9): the same for ever, so a call in flight never returns; the simulation
    cancels the tasks of the process afterwards.
    """

    def __init__(self, name: str, *, on_step: Callable[[str, str], None] = _ignore) -> None:
        self.name = name
        self.crashed = False
        self._on_step = on_step
        self._awake = asyncio.Event()
        self._awake.set()

    @property
    def running(self) -> bool:
        return self._awake.is_set()

    def freeze(self) -> None:
        self._awake.clear()

    def thaw(self) -> None:
        if not self.crashed:
            self._awake.set()

    def crash(self) -> None:
        self.crashed = True
        self._awake.clear()

    async def turn(self) -> None:
        """Return when the process is scheduled: at once unless frozen, never once crashed."""
        await self._awake.wait()

    async def step(self, what: str) -> None:
        """Name a point between two steps, where a simulation may freeze or crash this process."""
        self._on_step(self.name, what)
        await self.turn()
