"""Records what this process is asked, knows and decides, for `hub record`.

While nobody records, a decision costs one comparison more. While somebody does, decisions and changes of the
load table are put in a queue as they are, from whatever thread, and rendered here, a few at a time, so that
the event loop stays free for requests. The queue is bounded: a reader that is too slow ends its recording.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from random import Random
from typing import Final

from models.decision import Decision
from models.errors import AlreadyRecording
from models.request import Requirements
from routing.catalogue import Catalogue
from routing.engine import Engine
from routing.load import LoadSnapshot, LoadTable
from routing.profiles import load_profiles
from routing.recordings.recording import End, Header, Line, Made, encode
from routing.recordings.tape import Tape

HOUR_S: Final = 3600.0
QUEUE: Final = 100_000
"""Entries that may wait to be rendered."""
_AT_ONCE: Final = 8
"""Entries rendered without a pause: about two milliseconds."""
_CHUNK: Final = 256 << 10
_POLL_S: Final = 0.1


class TapedEngine(Engine):
    """An engine that decides on tape while there is one."""

    tape: Tape | None = None

    def decide(
        self,
        wanted: Requirements,
        catalogue: Catalogue,
        load: LoadSnapshot,
        *,
        now_ns: int,
        rng: Random,
        exclude: Collection[str] = (),
        attempt: int = 1,
    ) -> Decision:
        """Decide as `Engine` does; on tape, on a snapshot whose place among the changes is known."""
        if self.tape is None:
            return super().decide(
                wanted, catalogue, load, now_ns=now_ns, rng=rng, exclude=exclude, attempt=attempt
            )
        return self.tape.decide(
            super().decide, wanted, catalogue, now_ns=now_ns, rng=rng, exclude=exclude, attempt=attempt
        )


class Recorder:
    """Makes one recording at a time, of at most `longest_s`. `engine` must be what the process decides with,
    on `table`.
    """

    def __init__(
        self, profiles: str, table: LoadTable, *, clock: Callable[[], int], longest_s: float = HOUR_S
    ) -> None:
        self.profiles = load_profiles(profiles)
        self.engine = TapedEngine(self.profiles)
        self._text = profiles
        self.table = table
        self._clock = clock
        self._longest_s = longest_s

    async def record(self, seconds: float, *, gateway: str) -> AsyncGenerator[bytes]:
        """Whole lines, in chunks, from now on for so many seconds. Closing the iterator ends the recording.

        Raises AlreadyRecording on the first step.
        """
        if self.engine.tape is not None:
            raise AlreadyRecording("this gateway is being recorded already", retry_after_s=1.0)
        queue = _Queue()
        tape = Tape(self._header(gateway), self.table, queue.put)
        self.engine.tape = tape
        seconds = min(seconds, self._longest_s)
        until_s = _now_s() + seconds
        try:
            while _now_s() < until_s and not queue.full:
                async for chunk in queue.chunks():
                    yield chunk
                await asyncio.sleep(_POLL_S)
        finally:
            self.engine.tape = None
            tape.stop()
        async for chunk in queue.chunks():
            yield chunk
        yield encode(End("its reader was too slow" if queue.full else f"{seconds:g} s are over"))

    def _header(self, gateway: str) -> Header:
        now_ns = self._clock()
        return Header(gateway, now_ns, self._text, self.table.snapshot(now_ns).config)


def _now_s() -> float:
    return asyncio.get_running_loop().time()


class _Queue:
    """Entries on their way from many threads to the one that renders them. Once full, it takes no more."""

    def __init__(self) -> None:
        self._entries: deque[Line | Made] = deque()
        self.full = False

    def put(self, entry: Line | Made) -> None:
        self.full = self.full or len(self._entries) >= QUEUE
        if not self.full:
            self._entries.append(entry)

    async def chunks(self) -> AsyncIterator[bytes]:
        """What waits now, rendered; the loop may do other things in between."""
        chunk = bytearray()
        for number in range(1, len(self._entries) + 1):
            chunk += encode(self._entries.popleft())
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
            if len(chunk) >= _CHUNK:
                yield bytes(chunk)
                chunk.clear()
        if chunk:
            yield bytes(chunk)
