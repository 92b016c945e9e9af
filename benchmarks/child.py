"""A part of a benchmark in a process of its own: commands go in as lines, answers come back as JSON lines."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import uvloop

_LINE_LIMIT: Final = 1 << 26
_END_S: Final = 10.0


class ChildEndedError(Exception):
    """The process ended where an answer was due."""


class Child:
    """One running child; `child` starts and ends it. `ready` is what it said when it was."""

    def __init__(self, process: Process, module: str) -> None:
        self._process = process
        self._module = module
        self.ready: dict[str, Any] = {}

    async def ask(self, command: str) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        assert self._process.stdin is not None  # noqa: S101 - started with a pipe
        self._process.stdin.write(command.encode() + b"\n")
        await self._process.stdin.drain()
        return await self.answer()

    async def answer(self) -> dict[str, Any]:
        """The next answer; ChildEndedError if there comes none."""
        assert self._process.stdout is not None  # noqa: S101 - started with a pipe
        line = await self._process.stdout.readline()
        if not line:
            raise ChildEndedError(f"{self._module} ended without an answer; its error is above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    async def ended(self) -> None:
        """Wait until it is gone."""
        await self._process.wait()

    async def end(self) -> None:
        """Close its input, which ends it; kill it if it does not."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(_END_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def child(module: str, arguments: Sequence[str]) -> AsyncIterator[Child]:
    """`python -m module`, ready when it has said so, ended with the block."""
    command = (sys.executable, "-m", module, *arguments)
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, limit=_LINE_LIMIT)
    started = Child(process, module)
    try:
        started.ready = await started.answer()
        yield started
    finally:
        await started.end()


def run(main: Coroutine[Any, Any, None]) -> None:
    """Called in the child: run it on the event loop that Ray gives its workers, peers included."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


def say(answer: dict[str, Any]) -> None:
    """Called in the child: answer the command in hand, or say that it is ready."""
    print(json.dumps(answer), flush=True)


async def commands() -> AsyncIterator[str]:
    """Called in the child: its commands, until the parent closes the pipe."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield line.decode().strip()
