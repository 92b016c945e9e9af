"""Replicas that are left a tenth of the processor: stopped for 200 ms, let run for 20 ms, as in the demo."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process

from serve_app.demo import throttle


class Throttles:
    """Those that are on; each is a small process of its own, which keeps time whatever the driver does."""

    def __init__(self) -> None:
        self._on: list[Process] = []

    async def begin(self, pid: int) -> None:
        """Slow this process from now on."""
        command = (sys.executable, "-I", "-S", throttle.__file__, str(pid))
        self._on.append(await asyncio.create_subprocess_exec(*command, stdin=PIPE))

    async def end(self) -> None:
        """Let every one of them run."""
        while self._on:
            process = self._on.pop()
            assert process.stdin is not None  # noqa: S101 - started with a pipe
            process.stdin.close()
            await process.wait()
