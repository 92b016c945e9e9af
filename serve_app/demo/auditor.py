"""The independent reader as a child process: started, listened to, told to end, never imported."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from models.errors import MessagingError


class AuditFailed(MessagingError):
    """The independent reader ended without a ledger."""

    code = "audit_failed"
    retryable = False


class Auditor:
    """Owns the child: `start` once, then `finish` for the ledger, or `kill` on the way out."""

    def __init__(self, process: Process, on_live: Callable[[dict[str, Any]], None]) -> None:
        self._process = process
        self._ledger: dict[str, Any] | None = None
        self._listening = asyncio.create_task(self._listen(on_live))

    @classmethod
    async def start(cls, arguments: Sequence[str], on_live: Callable[[dict[str, Any]], None]) -> Auditor:
        """Start the reader; `on_live` gets each of its summaries."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "serve_app.audit", *arguments, stdin=PIPE, stdout=PIPE, limit=1 << 24
        )
        return cls(process, on_live)

    async def finish(self) -> dict[str, Any]:
        """Tell it that playback ended and wait for the ledger."""
        if self._process.stdin is not None:
            self._process.stdin.write(b"end\n")
            await self._process.stdin.drain()
        await self._listening
        code = await self._process.wait()
        if self._ledger is None:
            raise AuditFailed(f"the independent reader exited with {code} and no ledger; its error is above")
        return self._ledger

    async def kill(self) -> None:
        """End it at once if it still runs."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        self._listening.cancel()

    async def _listen(self, on_live: Callable[[dict[str, Any]], None]) -> None:
        assert self._process.stdout is not None  # noqa: S101 - started with a pipe
        async for line in self._process.stdout:
            message = orjson.loads(line)
            if message.pop("kind") == "ledger":
                self._ledger = message
            else:
                on_live(message)
