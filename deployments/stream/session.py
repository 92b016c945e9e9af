"""One open socket: what its client is told, and when it is closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from starlette.types import Receive, Send

from deployments.front.metering import UsageMeter
from deployments.front.tokens import Tokens
from deployments.stream.config import SessionConfig
from deployments.stream.ending import Code, Ending
from deployments.stream.frames import Frame, beat, skipped
from deployments.stream.outbox import Item, Outbox
from deployments.stream.owed import Owed, Sources, Wish
from messaging.ports import LogRecord
from models.access import Permission
from models.errors import HubError, TenantSuspended
from models.metrics import Meter
from signals.reader import SignalHead

_CLOSE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Tools:
    """What all sessions of a replica share. `clock` is wall time in nanoseconds."""

    sources: Sources
    tokens: Tokens
    meter: Meter
    usage: UsageMeter
    clock: Callable[[], int]
    config: SessionConfig


class Session:
    """Lives as long as its socket. `run` is its main task; `take` and `end` are called from others.

    `sent` is the sequence of the last signal that was sent, or told to be skipped.
    """

    def __init__(self, wish: Wish, bearer: str, tools: Tools) -> None:
        config = tools.config
        self.principal: Final = wish.principal
        self.key: Final = wish.principal.user_id.encode()
        self.sent = wish.since_seq or 0
        self._bearer = bearer
        self._expires_ns = 0
        self._entitled_until_ns = wish.principal.entitled_until_ns
        self._tools = tools
        self._outbox = Outbox(frames=config.queue_frames, limit_bytes=config.queue_bytes)
        self._owed = Owed(wish, tools.sources, self._outbox, too_slow=lambda: self.end(Code.TOO_SLOW))
        self._ending: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()

    def take(self, record: LogRecord, head: SignalHead) -> None:
        """The next valid signal of the user, as it comes."""
        self._owed.take(record, head)

    def end(self, code: Code) -> None:
        """Close the socket soon; the first to say so gives the reason."""
        if not self._ending.done():
            self._ending.set_result(Ending(code, self.sent))

    async def recheck(self) -> None:
        """Look again at what let the caller in: close the socket if it would not be let in now, and go by its
        entitlement as it is now.
        """
        try:
            known = await self._tools.tokens.known(self._bearer)
        except TenantSuspended:
            self.end(Code.SUSPENDED)
        except HubError:
            self.end(Code.TOKEN_ENDED)  # among others: its key is gone
        else:
            if not known.principal.may(Permission.SIGNALS_OWN):
                self.end(Code.NOT_ENTITLED)
            self._expires_ns = int(known.expires_s * 1e9)
            self._entitled_until_ns = known.principal.entitled_until_ns

    async def run(self, receive: Receive, send: Send) -> str:
        """Serve the accepted socket to its end; return why it ended: a code's name, or `client`."""
        tasks: list[asyncio.Future[Any]] = [
            asyncio.create_task(self._listen(receive)),
            asyncio.create_task(self._write(send)),
            asyncio.create_task(self._owed.follow()),
            asyncio.create_task(self._pulse()),
        ]
        try:
            await asyncio.wait([*tasks, self._ending], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        if defects := [one for one in outcomes if isinstance(one, Exception)]:
            raise defects[0]
        if not self._ending.done():
            return "client"
        return await self._close(self._ending.result(), send)

    async def _listen(self, receive: Receive) -> None:
        """Return when the client has gone; it has nothing to say."""
        while (message := await receive())["type"] != "websocket.disconnect":
            if message["type"] == "websocket.receive":
                self.end(Code.NO_INPUT)

    async def _write(self, send: Send) -> None:
        """Return when the client can no longer be written to."""
        while True:
            await self._outbox.filled()
            text = self._told(self._outbox.pop()).decode()
            try:
                async with asyncio.timeout(self._tools.config.send_s):
                    await send({"type": "websocket.send", "text": text})
            except TimeoutError:
                self.end(Code.TOO_SLOW)
            except OSError:
                return

    def _told(self, item: Item) -> bytes:
        """What is sent for an item at this moment."""
        if isinstance(item, bytes):
            return item
        now_ns = self._tools.clock()
        first, reason = item.sequence, item.skipped(now_ns)
        self.sent = first
        if reason is None:
            self._tools.meter.count("hub_stream_frames_total", {"kind": "signal"})
            if item.appended_ms is not None:
                self._tools.meter.observe("hub_stream_lag_ms", {}, now_ns / 1e6 - item.appended_ms)
            return item.payload
        while isinstance(after := self._outbox.peek(), Frame) and after.skipped(now_ns) == reason:
            self._outbox.pop()
            self.sent = after.sequence
        self._tools.meter.count("hub_stream_frames_total", {"kind": "skipped"})
        return skipped(first, self.sent, reason)

    async def _pulse(self) -> NoReturn:
        """Tell the client now and then that it has everything, for as long as it may have it."""
        loop, config = asyncio.get_running_loop(), self._tools.config
        rechecked_s = float("-inf")
        while True:
            if loop.time() - rechecked_s >= config.recheck_s:
                await self.recheck()
                rechecked_s = loop.time()
            now_ns = self._tools.clock()
            if now_ns >= self._expires_ns:
                self.end(Code.TOKEN_ENDED)
            elif now_ns >= self._entitled_until_ns:
                self.end(Code.NOT_ENTITLED)
            elif self._owed.current and not len(self._outbox):
                self._outbox.offer(beat(self._owed.last, now_ns))
                self._tools.meter.count("hub_stream_frames_total", {"kind": "beat"})
            left_ns = min(self._expires_ns, self._entitled_until_ns) - now_ns
            await asyncio.sleep(min(config.beat_s, left_ns / 1e9) if left_ns > 0 else config.beat_s)

    @staticmethod
    async def _close(ending: Ending, send: Send) -> str:
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(_CLOSE_S):
                await send({"type": "websocket.close", "code": int(ending.code), "reason": ending.reason})
        return ending.code.name.lower()
